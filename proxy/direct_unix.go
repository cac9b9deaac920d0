//go:build unix

package proxy

import "syscall"

// canAsk is whether connections can be asked in the goroutine of the request.
const canAsk = true

// readNow and writeNow do what can be done at once: a descriptor does not block.
func readNow(fd uintptr, to []byte) (int, error)    { return syscall.Read(int(fd), to) }
func writeNow(fd uintptr, from []byte) (int, error) { return syscall.Write(int(fd), from) }
