package certs

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/zap"
)

func TestACME_RemovesWhatExpiredLongAgo(t *testing.T) {
	dir := t.TempDir()
	a := OpenACME(ACMEOptions{Path: dir, Log: zap.NewNop()})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); a.Run(ctx) }()
	defer func() { stop(); <-done }()
	for host, ended := range map[string]int{"long.test": -30, "lately.test": -1, "good.test": 60} {
		site := filepath.Join(dir, "certificates", "ca", host)
		if err := os.MkdirAll(site, 0o700); err != nil {
			t.Fatal(err)
		}
		writePair(t, site, host, inDays(ended), host)
	}
	a.clean(t.Context())
	for host, kept := range map[string]bool{"long.test": false, "lately.test": true, "good.test": true} {
		if _, err := os.Stat(filepath.Join(dir, "certificates", "ca", host, host+".key")); (err == nil) != kept {
			t.Errorf("%s: %v, want it kept: %v", host, err, kept)
		}
	}
}
