package main

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/ropeline/ropeline/admission"
	"github.com/ropeline/ropeline/config"
)

// keyring makes the keyring of the keys in the file, or, where it names none,
// of those kept in the store, which are made once. known are the store's as
// this gateway had them last.
func keyring(ctx context.Context, store admission.Store, configured []config.Key, known []admission.Key) (*admission.Keyring, []admission.Key, error) {
	if len(configured) == 0 {
		kept, err := store.Keys(ctx, admission.NewKey(), known...)
		if err != nil {
			return nil, nil, fmt.Errorf("signing keys: %w", err)
		}
		ring, err := admission.NewKeyring(kept)
		return ring, kept, err
	}
	keys := make([]admission.Key, len(configured))
	for i, k := range configured {
		secret := []byte(k.Secret.Reveal())
		if k.Alg == admission.EdDSA {
			var err error
			if secret, err = seed(secret); err != nil {
				return nil, nil, fmt.Errorf("keys[%d]: %w", i, err)
			}
		}
		keys[i] = admission.Key{ID: k.KID, Alg: k.Alg, Secret: secret}
	}
	ring, err := admission.NewKeyring(keys)
	return ring, nil, err
}

// lookAtKeysEvery is how often a gateway looks whether the keys in the store
// are still those it knows. It looks more often while a line settles, which is
// for three seconds after its store lost it: a gateway that started on the empty
// store has made other keys, and would take every ticket for none, and its
// holder for a newcomer, once the line takes those.
const (
	lookAtKeysEvery    = 5 * time.Second
	lookAtKeysSettling = 250 * time.Millisecond
)

// shareKeys keeps the keys of all gateways the same, until ctx ends: it gives a
// store that lost them its own back, and takes up those that others made.
func (g *gateway) shareKeys(ctx context.Context) error {
	tick := time.NewTicker(lookAtKeysSettling)
	defer tick.Stop()
	looked := time.Now()
	settles := func() bool {
		for _, room := range g.rooms.All() {
			if room.Figures().Settling {
				return true
			}
		}
		return false
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if time.Since(looked) < lookAtKeysEvery && !settles() {
			continue
		}
		looked = time.Now()
		g.loading.Lock()
		if len(g.current.Load().Keys) == 0 {
			g.takeUpKeys(ctx)
		}
		g.loading.Unlock()
	}
}

func (g *gateway) takeUpKeys(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lookAtKeysEvery)
	defer cancel()
	ring, kept, err := keyring(ctx, g.store, nil, g.keys)
	if err != nil {
		g.log.Debug("signing keys not looked at", zap.Error(err)) // the line's own calls tell of a store that is away
		return
	}
	same := func(a, b admission.Key) bool { return a.ID == b.ID }
	if slices.EqualFunc(kept, g.keys, same) {
		return
	}
	g.keys = kept
	g.ring.Store(ring)
	for _, room := range g.rooms.All() {
		room.Rotate(ring)
	}
	g.log.Warn("signing keys changed in the store", zap.Int("keys", len(kept)))
}

// roomSecret returns the secret by which addresses and identities are hashed.
// It comes from the key that is made once and kept in the store, whether or not
// that key signs: it must outlive the keys in the file.
func roomSecret(ctx context.Context, store admission.Store) (admission.Secret, error) {
	keys, err := store.Keys(ctx, admission.NewKey())
	if err != nil {
		return nil, fmt.Errorf("signing keys: %w", err)
	}
	sum := sha256.Sum256(keys[0].Secret)
	return sum[:], nil
}

// seed returns the seed of an Ed25519 private key in PEM (PKCS 8).
func seed(text []byte) ([]byte, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("the key is not PEM")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("parse key: %w", err)
	}
	private, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, errors.New("the key is not an Ed25519 private key")
	}
	return private.Seed(), nil
}
