module integration

go 1.23
