package postgres

import (
	"os"

	"golang.org/x/sys/windows"
)

// lockFile takes the file for this process, or fails at once where another has it.
// The system frees it however the process ends.
func lockFile(file *os.File) error {
	const flags = windows.LOCKFILE_EXCLUSIVE_LOCK | windows.LOCKFILE_FAIL_IMMEDIATELY
	return windows.LockFileEx(windows.Handle(file.Fd()), flags, 0, 1, 0, new(windows.Overlapped))
}
