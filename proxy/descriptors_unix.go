//go:build unix

package proxy

import (
	"net"
	"syscall"
)

// roomy reports whether at least an eighth of the process's descriptors was free
// when conn came: it has the lowest that was.
func roomy(conn net.Conn) bool {
	has, ok := conn.(syscall.Conn)
	if !ok {
		return true
	}
	raw, err := has.SyscallConn()
	if err != nil {
		return true // the server finds out
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return true
	}
	most, room := uint64(limit.Cur), true
	if err := raw.Control(func(fd uintptr) { room = uint64(fd) < most-most/8 }); err != nil {
		return true
	}
	return room
}
