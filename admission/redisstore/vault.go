package redisstore

import (
	"context"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"
)

// vaultLife is how long values are kept unwritten: longer than any certificate
// that is not renewed is good for.
const vaultLife = 400 * 24 * time.Hour

// Vault keeps small values by name for all gateways on a Redis, and leases by
// which they do one thing at a time. Its methods are safe for concurrent use.
type Vault struct {
	store *Store
	key   string // of the values, and before the name of a lease: in one hash tag, so that one step sees both
}

// Vault returns the vault of that name, as "certs": another name, other values
// and leases.
func (s *Store) Vault(name string) Vault { return Vault{s, "ropeline:{" + name + "}"} }

// ask does one thing, about a lease if it is named.
func (v Vault) ask(ctx context.Context, lease, what string, args ...any) (any, error) {
	return v.store.ask(ctx, v.store.scripts.vault, []string{v.key, v.key + ":lease:" + lease}, false,
		append([]any{int64(vaultLife / time.Second), what}, args...))
}

// done does what is answered with whether it was done.
func (v Vault) done(ctx context.Context, lease, what string, args ...any) (bool, error) {
	answer, err := v.ask(ctx, lease, what, args...)
	if err != nil {
		return false, err
	}
	n, ok := answer.(int64)
	if !ok {
		return false, errAnswer
	}
	return n == 1, nil
}

// Put writes a value. Where a lease is named, the holder must have it: a holder
// that slept past its end writes nothing, and false is returned.
func (v Vault) Put(ctx context.Context, name string, value []byte, lease, holder string) (bool, error) {
	return v.done(ctx, lease, "put", name, value, holder)
}

// Get returns a value with the instant at which it was written, by Redis's own
// clock. Its error is fs.ErrNotExist where there is none.
func (v Vault) Get(ctx context.Context, name string) (value []byte, written time.Time, err error) {
	answer, err := v.ask(ctx, "", "get", name)
	if err != nil {
		return nil, written, err
	}
	text, ok := answer.(string)
	if ok && text == "" {
		return nil, written, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	}
	at, text, found := strings.Cut(text, " ")
	micros, err := strconv.ParseInt(at, 10, 64)
	if !ok || !found || err != nil {
		return nil, written, errAnswer
	}
	return []byte(text), time.UnixMicro(micros), nil
}

// Names returns the names of all values, in no order.
func (v Vault) Names(ctx context.Context) ([]string, error) {
	answer, err := v.ask(ctx, "", "names")
	if err != nil {
		return nil, err
	}
	list, ok := answer.([]any)
	if !ok {
		return nil, errAnswer
	}
	names := make([]string, len(list))
	for i, item := range list {
		if names[i], ok = item.(string); !ok {
			return nil, errAnswer
		}
	}
	return names, nil
}

// Remove removes values; those that are not there are none to remove.
func (v Vault) Remove(ctx context.Context, names ...string) error {
	if len(names) == 0 {
		return nil
	}
	args := make([]any, len(names))
	for i, name := range names {
		args[i] = name
	}
	_, err := v.ask(ctx, "", "remove", args...)
	return err
}

// Hold takes a lease, or prolongs it, for a time from now; false: another has
// it.
func (v Vault) Hold(ctx context.Context, lease, holder string, life time.Duration) (bool, error) {
	return v.done(ctx, lease, "hold", holder, life.Milliseconds())
}

// Free gives a lease back, if the holder has it.
func (v Vault) Free(ctx context.Context, lease, holder string) error {
	_, err := v.ask(ctx, lease, "free", holder)
	return err
}
