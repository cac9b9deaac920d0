package main

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/coreos/go-systemd/v22/daemon"
	"go.uber.org/zap"
)

// sockets are listeners that the service manager opened before this process
// began, by the listener's name: they stay open from one process to the next.
type sockets map[string]net.Listener

// passedSockets takes those that there are. Each must be named for a listener.
func passedSockets() (sockets, error) {
	passed, err := activation.ListenersWithNames()
	if err != nil {
		return nil, fmt.Errorf("sockets of the service manager: %w", err)
	}
	all := sockets{}
	for name, listeners := range passed {
		switch {
		case !slices.Contains([]string{"http", "https", "admin", "api"}, name):
			return nil, fmt.Errorf("the service manager passes a socket named %q; FileDescriptorName must be http, https, admin or api", name)
		case len(listeners) != 1:
			return nil, fmt.Errorf("the service manager passes %d sockets named %s; one is needed", len(listeners), name)
		}
		all[name] = listeners[0]
	}
	return all, nil
}

// listen takes the socket that was passed for a listener, or else opens one.
func (s sockets) listen(name, address string) (net.Listener, error) {
	if l, ok := s[name]; ok {
		delete(s, name)
		return l, nil
	}
	return listen("listen."+name, address)
}

// rest refuses sockets that the file has no listener for.
func (s sockets) rest() error {
	if len(s) == 0 {
		return nil
	}
	names := slices.Sorted(maps.Keys(s))
	return fmt.Errorf("the service manager passes a socket for listen.%s, which is empty", strings.Join(names, " and listen."))
}

// notify tells the service manager, if there is one that asked to be told.
func (g *gateway) notify(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		g.log.Warn("service manager not told", zap.Error(err))
	}
}

// watchdog tells the service manager that the gateway lives, for as long as its
// admin listener answers, until ctx ends. A gateway that is stuck is so
// restarted. admin may be nil: then it is enough that this runs.
func (g *gateway) watchdog(ctx context.Context, admin net.Listener) error {
	limit, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		return fmt.Errorf("watchdog: %w", err)
	}
	if limit == 0 {
		return nil
	}
	client := &http.Client{Timeout: limit / 3}
	defer client.CloseIdleConnections()
	look := time.NewTicker(limit / 3)
	defer look.Stop()
	for {
		if admin == nil || g.lives(ctx, client, admin.Addr()) {
			g.notify(daemon.SdNotifyWatchdog)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-look.C:
		}
	}
}

// lives asks the admin listener, where it listens on every address by loopback.
func (g *gateway) lives(ctx context.Context, client *http.Client, at net.Addr) bool {
	host, port, err := net.SplitHostPort(at.String())
	if err != nil {
		return false
	}
	if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() {
		host = "localhost"
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+"/livez", nil)
	if err != nil {
		return false
	}
	r.Host = "localhost" // the one name that it always answers to
	answer, err := client.Do(r)
	if err != nil {
		if ctx.Err() == nil {
			g.log.Warn("admin listener does not answer, the watchdog is not told", zap.Error(err))
		}
		return false
	}
	answer.Body.Close()
	return answer.StatusCode == http.StatusOK
}
