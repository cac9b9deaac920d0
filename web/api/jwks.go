package api

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"sync"
	"time"
)

// largestKeyFile bounds a JWKS, in bytes: a hundred RSA keys and more.
const largestKeyFile = 256 << 10

// keyFile is a JWKS on disk. While a change of it cannot be read, the keys
// that were read last count.
type keyFile struct {
	path, alg string

	mu     sync.Mutex // protects the rest
	looked time.Time
	seen   os.FileInfo
	keys   map[string]crypto.PublicKey // by kid; of a key without one it is ""
}

// lookAtFileEvery is how often the file is looked at while it has the keys
// that are asked for: so long may a key be believed that was taken out.
const lookAtFileEvery = time.Second

func openKeyFile(path, alg string) (*keyFile, error) {
	f := &keyFile{path: path, alg: alg}
	if err := f.look(); err != nil {
		return nil, fmt.Errorf("keys in %s: %w", path, err)
	}
	return f, nil
}

// find returns the key of a kid.
func (f *keyFile) find(kid string) (crypto.PublicKey, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	key, ok := f.keys[kid]
	if ok && time.Since(f.looked) < lookAtFileEvery {
		return key, nil
	}
	wrong := f.look() // what is wrong with the file; the keys of before still count
	if key, ok = f.keys[kid]; ok {
		return key, nil
	}
	return nil, errors.Join(errors.New("token names no key of the file"), wrong)
}

// look reads the file if it is another than was read last. The caller holds
// the mutex, or is alone.
func (f *keyFile) look() error {
	f.looked = time.Now()
	file, err := os.Open(f.path)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if f.seen != nil && os.SameFile(f.seen, info) && f.seen.ModTime().Equal(info.ModTime()) && f.seen.Size() == info.Size() {
		return nil
	}
	if !info.Mode().IsRegular() {
		return errors.New("not a regular file")
	}
	data, err := io.ReadAll(io.LimitReader(file, largestKeyFile+1))
	if err != nil {
		return err
	}
	if len(data) > largestKeyFile {
		return fmt.Errorf("larger than %d bytes", largestKeyFile)
	}
	keys, err := parseKeys(data, f.alg)
	if err != nil {
		return err
	}
	f.keys = keys
	// A file changed twice within the clock's grain looks the same after the
	// second change: one that is fresh is read again.
	if time.Since(info.ModTime()) > 2*time.Second {
		f.seen = info
	}
	return nil
}

type webKey struct {
	Type  string `json:"kty"`
	ID    string `json:"kid"`
	Use   string `json:"use"`
	Alg   string `json:"alg"`
	Curve string `json:"crv"`
	X     string `json:"x"`
	Y     string `json:"y"`
	N     string `json:"n"`
	E     string `json:"e"`
}

// parseKeys reads the keys of a JWKS that can verify alg. Keys for other uses
// are passed over; a bad key among those that are meant is an error.
func parseKeys(data []byte, alg string) (map[string]crypto.PublicKey, error) {
	var set struct {
		Keys []webKey `json:"keys"`
	}
	if err := json.Unmarshal(data, &set); err != nil {
		return nil, fmt.Errorf("not a JWKS: %w", err)
	}
	kind := map[string]string{"EdDSA": "OKP", "RS256": "RSA", "ES256": "EC"}[alg]
	keys := map[string]crypto.PublicKey{}
	for _, k := range set.Keys {
		if k.Type != kind || k.Use != "" && k.Use != "sig" || k.Alg != "" && k.Alg != alg {
			continue
		}
		if _, twice := keys[k.ID]; twice {
			return nil, fmt.Errorf("two keys have the kid %q", k.ID)
		}
		key, err := k.public()
		if err != nil {
			return nil, fmt.Errorf("key %q: %w", k.ID, err)
		}
		keys[k.ID] = key
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("no key for %s", alg)
	}
	return keys, nil
}

func (k webKey) public() (crypto.PublicKey, error) {
	part := func(text string) []byte { // nil where it is not base64url
		data, _ := base64.RawURLEncoding.DecodeString(text)
		return data
	}
	switch x := part(k.X); k.Type {
	case "OKP":
		if k.Curve != "Ed25519" || len(x) != ed25519.PublicKeySize {
			return nil, errors.New("not a public key of Ed25519")
		}
		return ed25519.PublicKey(x), nil
	case "EC":
		y := part(k.Y)
		if k.Curve != "P-256" || len(x) != 32 || len(y) != 32 {
			return nil, errors.New("not a public key of P-256")
		}
		// It checks that the point is on the curve.
		return ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append(append([]byte{4}, x...), y...))
	default:
		n, e := new(big.Int).SetBytes(part(k.N)), new(big.Int).SetBytes(part(k.E))
		if n.BitLen() < 2048 || n.BitLen() > 8192 {
			return nil, fmt.Errorf("an RSA key has 2048 to 8192 bits, this one has %d", n.BitLen())
		}
		if e.BitLen() > 31 || e.Int64() < 3 || e.Int64()%2 == 0 {
			return nil, errors.New("the exponent of the RSA key is none")
		}
		return &rsa.PublicKey{N: n, E: int(e.Int64())}, nil
	}
}
