package admission

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
)

// Seed is the secret of a draw until the start, and the proof of it after. Its
// commitment is shown before anyone joins.
type Seed [sha256.Size]byte

// NewSeed makes the seed of a draw. Only who has the key can make it, and can
// make it again: a draw is never lost with the process that began it. source
// names where a public value will come from that is mixed in; empty: none is.
func NewSeed(key []byte, line LineID, epoch int64, source string) Seed {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte("ropeline draw\x00"))
	mac.Write([]byte(line.Tenant))
	mac.Write([]byte{0})
	mac.Write(binary.BigEndian.AppendUint64(nil, uint64(line.Activity)))
	mac.Write(binary.BigEndian.AppendUint64(nil, uint64(epoch)))
	mac.Write([]byte(source))
	return Seed(mac.Sum(nil))
}

// ParseSeed reads a seed as String writes it.
func ParseSeed(text string) (Seed, error) {
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw) != len(Seed{}) {
		return Seed{}, fmt.Errorf("a seed is %d hexadecimal digits", 2*len(Seed{}))
	}
	return Seed(raw), nil
}

// String returns the seed in hexadecimal.
func (s Seed) String() string { return hex.EncodeToString(s[:]) }

// Commitment returns the SHA-256 of the seed in hexadecimal: it tells nothing of
// the seed, and no other seed has it.
func (s Seed) Commitment() string {
	sum := sha256.Sum256(s[:])
	return hex.EncodeToString(sum[:])
}

// key is what the numbers are drawn by: the seed, or what it makes of the
// public value, which neither the operator nor a visitor could choose.
func (s Seed) key(beacon string) Seed {
	if beacon == "" {
		return s
	}
	mac := hmac.New(sha256.New, s[:])
	mac.Write([]byte(beacon))
	return Seed(mac.Sum(nil))
}

// MaxDrawn is the most places that can be drawn: sums of two halves of one stay
// exact where numbers are doubles, as on the page.
const MaxDrawn = 1 << 40

// drawRounds is how often a place is mixed. Ten is what FF1 takes (NIST SP
// 800-38G); the fewest that no distinguisher is known for is six.
const drawRounds = 10

var errDrawn = errors.New("a draw is of 1 to 2^40 places")

// Lots give each index of a draw its number. They hold no table: an index costs
// the same in a draw of any size. They are safe for concurrent use.
//
// An index is a pair of digits, i = left + wide×right, left below wide and right
// below high; the pairs are as few over n as a rectangle allows. A round
// adds to one digit what SHA-256 makes of the key, the round and the other; so
// each round can be undone, and all together are a permutation of the pairs. A
// pair that stands for no index is mixed again until one does (cycle walking),
// which leaves a permutation of the indexes.
type Lots struct {
	n, wide, high uint64
	key           Seed
}

// NewLots returns the lots of a draw of n places by a seed, and by the public
// value where there is one.
func NewLots(seed Seed, beacon string, n int64) (*Lots, error) {
	if n < 1 || n > MaxDrawn {
		return nil, fmt.Errorf("%w, not %d", errDrawn, n)
	}
	l := &Lots{n: uint64(n), key: seed.key(beacon)}
	for l.wide = uint64(math.Sqrt(float64(n))); l.wide*l.wide < l.n; l.wide++ {
	}
	l.high = (l.n + l.wide - 1) / l.wide
	return l, nil
}

// N returns how many places are drawn.
func (l *Lots) N() int64 { return int64(l.n) }

// Number returns the number, from 1 to N, of an index from 0 to N-1.
func (l *Lots) Number(index int64) int64 {
	i := uint64(index)
	for i = l.mix(i); i >= l.n; i = l.mix(i) {
	}
	return int64(i) + 1
}

// Index returns the index that has a number.
func (l *Lots) Index(number int64) int64 {
	i := uint64(number - 1)
	for i = l.unmix(i); i >= l.n; i = l.unmix(i) {
	}
	return int64(i)
}

func (l *Lots) mix(i uint64) uint64 {
	left, right := i%l.wide, i/l.wide
	for round := range byte(drawRounds) {
		if round%2 == 0 {
			left = (left + l.random(round, right)) % l.wide
		} else {
			right = (right + l.random(round, left)) % l.high
		}
	}
	return left + l.wide*right
}

func (l *Lots) unmix(i uint64) uint64 {
	left, right := i%l.wide, i/l.wide
	for round := byte(drawRounds); round > 0; {
		round--
		if round%2 == 0 {
			left = (left + l.wide - l.random(round, right)%l.wide) % l.wide
		} else {
			right = (right + l.high - l.random(round, left)%l.high) % l.high
		}
	}
	return left + l.wide*right
}

// random is 48 bits: exact where numbers are doubles, and 2^28 times the
// largest digit, so that none is likelier than another by more than that.
func (l *Lots) random(round byte, digit uint64) uint64 {
	var text [len(l.key) + 9]byte
	copy(text[:], l.key[:])
	text[len(l.key)] = round
	binary.BigEndian.PutUint64(text[len(l.key)+1:], digit)
	sum := sha256.Sum256(text[:])
	return binary.BigEndian.Uint64(sum[:8]) >> 16
}
