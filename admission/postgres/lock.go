//go:build !windows

package postgres

import (
	"os"
	"syscall"
)

// lockFile takes the file for this process, or fails at once where another has it.
// The system frees it however the process ends.
func lockFile(file *os.File) error {
	return syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
}
