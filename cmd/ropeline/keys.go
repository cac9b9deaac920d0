package main

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/ropeline/ropeline/admission"
	"github.com/ropeline/ropeline/config"
)

// keyring makes the keyring of the keys in the file, or, where it names none,
// of those kept in the store, which are made once.
func keyring(ctx context.Context, store admission.Store, configured []config.Key) (*admission.Keyring, error) {
	if len(configured) == 0 {
		keys, err := store.Keys(ctx, admission.NewKey())
		if err != nil {
			return nil, fmt.Errorf("signing keys: %w", err)
		}
		return admission.NewKeyring(keys)
	}
	keys := make([]admission.Key, len(configured))
	for i, k := range configured {
		secret := []byte(k.Secret.Reveal())
		if k.Alg == admission.EdDSA {
			var err error
			if secret, err = seed(secret); err != nil {
				return nil, fmt.Errorf("keys[%d]: %w", i, err)
			}
		}
		keys[i] = admission.Key{ID: k.KID, Alg: k.Alg, Secret: secret}
	}
	return admission.NewKeyring(keys)
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
