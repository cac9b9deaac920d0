package proxy

import "net"

// roomy reports whether there is room for conn: handles do not run out.
func roomy(net.Conn) bool { return true }
