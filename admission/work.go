package admission

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"math/bits"
	"strings"
	"time"
)

// Work is what the device of a newcomer must do before it may join: find the
// number that gives a challenge a hash which begins with so many zero bits. It
// makes many places dear, and asks nothing of a person. The zero Work is none.
//
// Scripts look at the first 32 bits, so there may be no more than that.
type Work struct {
	Bits int // for a network from which few come; 0: nobody is asked
	Max  int // for one from which many do; at least Bits
}

// Challenge is a piece of work that a visitor is given. It is solved by a
// number n, written without leading zeros, for which the SHA-256 of Text, a dot
// and n begins with Bits zero bits; all three together are Visit.Work. The zero
// Challenge is none.
type Challenge struct {
	Text string
	Bits int
}

// A challenge is 15 bytes in base64: its end in seconds since the Unix epoch,
// its bits, and 10 random ones; and behind them a keyed hash of these, of the
// line, and of whom it was given to. With a dot and twelve digits it is just
// what SHA-256 takes in one block.
const (
	challengeHead   = 20
	challengeLength = challengeHead + 22
	longestNumber   = 12

	// challengeLife is shorter than OnceTime, so that no solution outlives the
	// memory of its place.
	challengeLife = 5 * time.Minute
)

// solution is a challenge with its answer, as a visitor brought it.
type solution struct {
	challenge string // the text
	bits      int
	expires   Instant
	zeros     int // that its hash begins with
}

// readSolution takes apart what a visitor brought; false: it is no solution.
func readSolution(text string) (s solution, ok bool) {
	challenge, number, found := strings.Cut(text, ".")
	if !found || len(challenge) != challengeLength || !isNumber(number) {
		return s, false
	}
	head, err := base64.RawURLEncoding.DecodeString(challenge[:challengeHead])
	if err != nil || len(head) != 15 { // line breaks are passed over
		return s, false
	}
	sum := sha256.Sum256([]byte(text))
	return solution{
		challenge: challenge,
		bits:      int(head[4]),
		expires:   instantOfSeconds(int64(binary.BigEndian.Uint32(head))),
		zeros:     bits.LeadingZeros64(binary.BigEndian.Uint64(sum[:])),
	}, true
}

// isNumber reports whether s is a number in the one way to write it.
func isNumber(s string) bool {
	if s == "" || len(s) > longestNumber || s[0] == '0' && s != "0" {
		return false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// worked reports whether a newcomer did the work it was given, and returns the
// challenge; empty where none is asked for. It costs two hashes.
func (r *Room) worked(v *view, visit Visit, now Instant) (challenge string, ok bool) {
	if r.settings.Load().Work.Bits == 0 || visit.Vouched {
		return "", true
	}
	s, ok := readSolution(visit.Work)
	switch {
	case !ok || s.zeros < s.bits || now >= s.expires:
		return "", false
	case s.expires.Add(-challengeLife) < v.Born: // a line that was lost knows no places of before
		return "", false
	case !hmac.Equal([]byte(s.challenge), []byte(r.sealed(s.challenge[:challengeHead], visit))):
		return "", false
	}
	return s.challenge, true
}

// sealed is the challenge with that head, given to the sender of a visit. It is
// of no use from another network, which may be one that more is asked of, nor
// for another identity.
func (r *Room) sealed(head string, visit Visit) string {
	network := r.settings.Load().Networks.of(visit.Network)
	return head + r.hashes.of("challenge", head+" "+network.String()+" "+visit.Identity)
}

// demand holds a newcomer until its device has worked.
func (r *Room) demand(v *view, visit Visit, now Instant) Verdict {
	verdict := r.hold(v, nil, now, HoldWaiting)
	if verdict.Reason == HoldFull { // to work would be for nothing
		return verdict
	}
	settings := r.settings.Load()
	work := settings.Work.Bits
	if most := settings.Work.Max - work; most > 0 {
		work += min(most, r.pressure().count(settings.Networks.of(visit.Network), now))
	}
	var head [15]byte
	binary.BigEndian.PutUint32(head[:], uint32(seconds(now.Add(challengeLife+time.Second)))) // at least its life
	head[4] = byte(work)
	rand.Read(head[5:]) // never fails: it ends the program instead
	verdict.Reason = HoldWork
	verdict.Status.Work = Challenge{Text: r.sealed(base64.RawURLEncoding.EncodeToString(head[:]), visit), Bits: work}
	return verdict
}
