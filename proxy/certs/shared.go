package certs

import (
	"context"
	"crypto/rand"
	"fmt"
	"io/fs"
	mathrand "math/rand/v2"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
)

// Vault keeps small values by name for all gateways, and leases by which they
// do one thing at a time. Implementations are safe for concurrent use.
type Vault interface {
	// Put writes a value. Where a lease is named, it is written only if the
	// holder has it.
	Put(ctx context.Context, name string, value []byte, lease, holder string) (bool, error)
	// Get returns a value with the instant of its writing; its error is
	// fs.ErrNotExist where there is none.
	Get(ctx context.Context, name string) (value []byte, written time.Time, err error)
	Names(ctx context.Context) ([]string, error)
	Remove(ctx context.Context, names ...string) error
	// Hold takes a lease, or prolongs it; false: another has it.
	Hold(ctx context.Context, lease, holder string, life time.Duration) (bool, error)
	Free(ctx context.Context, lease, holder string) error
}

const (
	// leaseLife is how long the lease of a gateway that died is waited for. One
	// that lives prolongs it three times as often.
	leaseLife = 15 * time.Second

	// askAgain is how often a lease that another has is asked for. Each wait is
	// up to twice as long, so that gateways do not ask together.
	askAgain = 500 * time.Millisecond

	// freeTime bounds the giving back of a lease, whose end comes by itself.
	freeTime = 5 * time.Second
)

// shared is a Vault as certmagic sees it: names are paths, and a lock is a
// lease that is prolonged until it is unlocked. What certmagic writes of a
// certificate while it holds that certificate's lock is bound to the lease:
// certificate, key and facts are three writes, and those of a holder that slept
// must not mix with its successor's.
type shared struct {
	vault Vault
	log   *zap.Logger

	mu   sync.Mutex // guards held
	held map[string]*held
}

// held is a lease that this process has.
type held struct {
	holder string
	stop   func() // has it prolonged no more
}

var (
	_ certmagic.Storage   = (*shared)(nil)
	_ certmagic.TryLocker = (*shared)(nil)
)

func newShared(v Vault, log *zap.Logger) *shared {
	return &shared{vault: v, log: log, held: map[string]*held{}}
}

// String names the storage in certmagic's log.
func (*shared) String() string { return "shared by the store" }

// issueLock is before the host in the name of the lock under which certmagic
// writes that host's certificate.
const issueLock = "issue_cert_"

// bound returns the lease that a write of key is bound to, and who of this
// process has it; empty where the key is of no certificate, or is written
// without the lock.
func (s *shared) bound(key string) (lease, holder string) {
	if !strings.HasPrefix(key, "certificates/") {
		return "", ""
	}
	host := path.Base(path.Dir(key))
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, h := range s.held {
		if of, ok := strings.CutPrefix(name, issueLock); ok && certmagic.StorageKeys.Safe(of) == host {
			return name, h.holder
		}
	}
	return "", ""
}

// Store implements certmagic.Storage.
func (s *shared) Store(ctx context.Context, key string, value []byte) error {
	lease, holder := s.bound(key)
	written, err := s.vault.Put(ctx, key, value, lease, holder)
	if err == nil && !written {
		return fmt.Errorf("write %s: another gateway has taken over", key)
	}
	return err
}

// Load implements certmagic.Storage.
func (s *shared) Load(ctx context.Context, key string) ([]byte, error) {
	value, _, err := s.vault.Get(ctx, key)
	return value, err
}

// Delete implements certmagic.Storage.
func (s *shared) Delete(ctx context.Context, key string) error {
	below, err := s.below(ctx, key)
	if err != nil {
		return err
	}
	return s.vault.Remove(ctx, append(below, key)...)
}

// Exists implements certmagic.Storage.
func (s *shared) Exists(ctx context.Context, key string) bool {
	_, err := s.Stat(ctx, key)
	return err == nil
}

// Stat implements certmagic.Storage.
func (s *shared) Stat(ctx context.Context, key string) (certmagic.KeyInfo, error) {
	value, written, err := s.vault.Get(ctx, key)
	if err == nil {
		return certmagic.KeyInfo{Key: key, Modified: written, Size: int64(len(value)), IsTerminal: true}, nil
	}
	if below, listErr := s.below(ctx, key); listErr == nil && len(below) > 0 {
		return certmagic.KeyInfo{Key: key}, nil
	}
	return certmagic.KeyInfo{}, err
}

// List implements certmagic.Storage.
func (s *shared) List(ctx context.Context, directory string, recursive bool) ([]string, error) {
	below, err := s.below(ctx, directory)
	if err != nil {
		return nil, err
	}
	if len(below) == 0 {
		return nil, fmt.Errorf("%s: %w", directory, fs.ErrNotExist)
	}
	if recursive {
		return below, nil
	}
	var children []string
	seen := map[string]bool{}
	for _, name := range below {
		child, _, _ := strings.Cut(strings.TrimPrefix(name, directory+"/"), "/")
		if child = path.Join(directory, child); !seen[child] {
			seen[child] = true
			children = append(children, child)
		}
	}
	return children, nil
}

// below returns all names below a directory; an empty one is above all.
func (s *shared) below(ctx context.Context, directory string) ([]string, error) {
	names, err := s.vault.Names(ctx)
	if err != nil {
		return nil, err
	}
	if directory == "" {
		return names, nil
	}
	var below []string
	for _, name := range names {
		if strings.HasPrefix(name, directory+"/") {
			below = append(below, name)
		}
	}
	return below, nil
}

// Lock implements certmagic.Locker. It outwaits a store that is away: who locks
// has work that must be done some time.
func (s *shared) Lock(ctx context.Context, name string) error {
	for {
		locked, err := s.TryLock(ctx, name)
		if locked {
			return nil
		}
		if err != nil {
			s.log.Warn("lease not asked for", zap.String("lease", name), zap.Error(err))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(askAgain + mathrand.N(askAgain)):
		}
	}
}

// TryLock implements certmagic.TryLocker.
func (s *shared) TryLock(ctx context.Context, name string) (bool, error) {
	holder := rand.Text()
	locked, err := s.vault.Hold(ctx, name, holder, leaseLife)
	if err != nil || !locked {
		return false, err
	}
	prolonging, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.mu.Lock()
	s.held[name] = &held{holder, stop}
	s.mu.Unlock()
	go s.prolong(prolonging, name, holder)
	return true, nil
}

// prolong keeps a lease until ctx ends, or it is lost.
func (s *shared) prolong(ctx context.Context, name, holder string) {
	tick := time.NewTicker(leaseLife / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		// An error is a store that is away: it may be back before the end.
		if has, err := s.vault.Hold(ctx, name, holder, leaseLife); err == nil && !has {
			s.log.Warn("lease lost to another gateway", zap.String("lease", name))
			return // what is written under it is refused
		}
	}
}

// Unlock implements certmagic.Locker.
func (s *shared) Unlock(ctx context.Context, name string) error {
	s.mu.Lock()
	h := s.held[name]
	delete(s.held, name)
	s.mu.Unlock()
	if h == nil {
		return fmt.Errorf("unlock %s: it is not locked here", name)
	}
	h.stop()
	ctx, cancel := context.WithTimeout(ctx, freeTime)
	defer cancel()
	return s.vault.Free(ctx, name, h.holder)
}
