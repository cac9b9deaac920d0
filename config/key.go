package config

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
)

// minSecretBytes is what RFC 7518 section 3.2 requires of an HS256 key.
const minSecretBytes = 32

func (d *decoder) checkKeys(c *Config) {
	listed := places[string]{}
	for i, key := range c.Keys {
		path := fmt.Sprintf("keys[%d]", i)
		if other, twice := listed.twice(key.KID, i); twice && d.sound(path+".kid") {
			d.problem(path+".kid", "%q is also the name of keys[%d]", key.KID, other)
		}
		if !d.sound(path+".alg", path+".secret", path+".file") {
			continue
		}
		switch {
		case key.File != "" && d.given(path+".secret") && key.Secret != (Secret{}):
			d.problem(path, "has both secret and file; give one")
		case key.Secret == (Secret{}) && key.File == "":
			d.problem(path, "needs secret or file; without keys one is made")
		case key.Alg == "HS256" && len(key.Secret.Reveal()) < minSecretBytes:
			d.problem(keySource(path, key), "has %d bytes; HS256 needs at least %d", len(key.Secret.Reveal()), minSecretBytes)
		case key.Alg == "EdDSA" && !isEd25519(key.Secret.Reveal()):
			d.problem(keySource(path, key), "is not an Ed25519 private key in PEM (PKCS 8)")
		}
	}
}

// keySource gives the path of the value that a key came from.
func keySource(path string, key Key) string {
	if key.File != "" {
		return path + ".file"
	}
	return path + ".secret"
}

func isEd25519(text string) bool {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return false
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return false
	}
	_, ok := key.(ed25519.PrivateKey)
	return ok
}

// checkJWT holds the keys of a JWT against its algorithm.
func (d *decoder) checkJWT(path string, j JWT) {
	alg, secret, file := path+".alg", path+".secret", path+".jwks_file"
	if !d.sound(alg, secret, file) {
		return
	}
	if j.Alg == "HS256" {
		if j.JWKSFile != "" {
			d.problem(file, "means nothing with alg HS256; name the alg of its keys, or give secret instead")
		}
		if n := len(j.Secret.Reveal()); n > 0 && n < minSecretBytes {
			d.problem(secret, "has %d bytes; HS256 needs at least %d", n, minSecretBytes)
		}
		return
	}
	if j.Secret != (Secret{}) {
		d.problem(secret, "means nothing with alg %s; its keys are in jwks_file", j.Alg)
	}
	if j.JWKSFile == "" {
		d.problem(file, "is missing; alg %s needs public keys", j.Alg)
		return
	}
	data, err := readFile(j.JWKSFile, maxSecretBytes)
	if err != nil {
		d.problem(file, "read %q: %v", j.JWKSFile, err)
		return
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if json.Unmarshal(data, &set) != nil || len(set.Keys) == 0 {
		d.problem(file, "%q holds no keys; a JWKS is JSON like {\"keys\": [...]}", j.JWKSFile)
	}
}

// soundJWT says whether it can be told if the JWT of a section has a key.
func (d *decoder) soundJWT(section string) bool {
	return d.sound(section, section+".jwt", section+".jwt.secret", section+".jwt.jwks_file")
}
