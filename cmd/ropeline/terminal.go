package main

import "golang.org/x/term"

// isTerminal says whether a person sits at what a command reads or writes.
func isTerminal(stream any) bool {
	file, ok := stream.(interface{ Fd() uintptr })
	return ok && term.IsTerminal(int(file.Fd()))
}
