package main

import "strconv"

// Sum is the type of an amount without an option of the generator.
type Sum = float64

func sum(text string) Sum {
	sum, _ := strconv.ParseFloat(text, 64)
	return sum
}

func text(sum Sum) string {
	return strconv.FormatFloat(sum, 'f', -1, 64)
}

var steps = []Step{
	{sum("1234567.89"), "1234567.89"},
	{sum("0.07"), "1234567.96"},
	{sum("3000000000"), "3001234567.96"},
	{sum("12345678901234.56"), "12348680135802.52"},
}
