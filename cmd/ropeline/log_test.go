package main

import (
	"bytes"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/ropeline/ropeline/config"
)

// exhausted is a listener of a process that has as many files open as it may,
// for a moment, and is closed then.
type exhausted struct {
	net.Listener
	asked bool
}

func (l *exhausted) Accept() (net.Conn, error) {
	if l.asked {
		return nil, net.ErrClosed
	}
	l.asked = true
	return nil, &net.OpError{Op: "accept", Net: "tcp", Err: syscall.EMFILE}
}

func TestServers_WhatNetHTTPSaysIsInTheLog(t *testing.T) {
	var out bytes.Buffer
	g := &gateway{log: newLog(&out, zap.NewAtomicLevel(), "json")}
	for name, server := range map[string]*http.Server{
		"admin": g.adminServer(nil, prometheus.NewRegistry()),
		"api":   g.apiServer(config.Limits{}),
	} {
		out.Reset()
		if err := server.Serve(&exhausted{Listener: &net.TCPListener{}}); err == nil {
			t.Errorf("%s: it serves on a listener that is closed", name)
		}
		if got := out.String(); !strings.Contains(got, `"logger":"http"`) || !strings.Contains(got, "too many open files") {
			t.Errorf("%s: the log has %q, want what net/http says", name, got)
		}
	}
}
