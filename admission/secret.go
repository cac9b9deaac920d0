package admission

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/netip"
)

// Secret turns addresses and identities into what a store may keep of them:
// hashes that say nothing without it. All gateways of a line have the same; it
// must outlive the rotation of signing keys, or one person gets two places.
type Secret []byte

// identity returns the hash of what the shop calls a visitor in a line; empty
// for no one.
func (s Secret) identity(line LineID, name string) string {
	if name == "" {
		return ""
	}
	return s.hash("identity", line, name)
}

// network returns the hash of the network of an address; empty for an address
// that is not known.
func (s Secret) network(line LineID, address netip.Addr, n Networks) string {
	prefix := n.of(address)
	if !prefix.IsValid() {
		return ""
	}
	return s.hash("network", line, prefix.String())
}

func (s Secret) hash(use string, line LineID, text string) string {
	mac := hmac.New(sha256.New, s)
	for _, part := range []string{use, line.String(), text} {
		mac.Write([]byte(part))
		mac.Write([]byte{0})
	}
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:16])
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
