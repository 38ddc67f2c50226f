package main

import "encoding/json"

// Sum is the type of an amount with --type-mappings double=json.Number.
type Sum = json.Number

func text(sum Sum) string {
	return sum.String()
}

var steps = []Step{
	{"1234567.89", "1234567.89"},
	{"0.07", "1234567.96"},
	{"3000000000", "3001234567.96"},
	{"12345678901234.56", "12348680135802.52"},
	// No float64 holds this balance.
	{"77723312411607.39", "90071992547409.91"},
}
