//go:build !linux

package main

import (
	"os"
	"testing"
)

func openTerminal(t *testing.T) (terminal, person *os.File) {
	t.Helper()
	t.Skip("terminals are opened on Linux only")
	return nil, nil
}
