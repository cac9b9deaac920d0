package admission

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"hash"
	"net/netip"
	"sync"
)

// Secret turns addresses and identities into what a store may keep of them:
// hashes that say nothing without it. All gateways of a line have the same; it
// must outlive the rotation of signing keys, or one person gets two places.
type Secret []byte

// Identity returns the hash of what the shop calls a visitor in a line; empty
// for no one.
func (s Secret) Identity(line LineID, name string) string { return s.hashes(line).identity(name) }

// hashes are those of one line. It is safe for concurrent use.
type hashes struct {
	line string
	idle sync.Pool // of *hasher: to make one costs more than a hash
}

type hasher struct {
	hash.Hash
	text []byte
}

func (s Secret) hashes(line LineID) *hashes {
	return &hashes{line: line.String(), idle: sync.Pool{New: func() any {
		return &hasher{Hash: hmac.New(sha256.New, s)}
	}}}
}

// identity returns the hash of what the shop calls a visitor; empty for no one.
func (h *hashes) identity(name string) string {
	if name == "" {
		return ""
	}
	return h.of("identity", name)
}

// network returns the hash of the network of an address; empty for an address
// that is not known.
func (h *hashes) network(address netip.Addr, n Networks) string {
	prefix := n.of(address)
	if !prefix.IsValid() {
		return ""
	}
	return h.of("network", prefix.String())
}

func (h *hashes) of(use, text string) string {
	m := h.idle.Get().(*hasher)
	defer h.idle.Put(m)
	m.Reset()
	m.text = m.text[:0]
	for _, part := range [...]string{use, h.line, text} {
		m.text = append(m.text, part...)
		m.text = append(m.text, 0)
	}
	m.Write(m.text)
	m.text = m.Sum(m.text[:0])
	return base64.RawURLEncoding.EncodeToString(m.text[:16])
}

// Networks are the lengths of the prefixes that count as one network, in bits.
type Networks struct{ IPv4, IPv6 int }

// of is the network of an address; not valid for one that is not known.
func (n Networks) of(address netip.Addr) netip.Prefix {
	address = address.Unmap().WithZone("")
	length := n.IPv6
	if address.Is4() {
		length = n.IPv4
	}
	prefix, err := address.Prefix(length)
	if err != nil {
		return netip.Prefix{}
	}
	return prefix
}
