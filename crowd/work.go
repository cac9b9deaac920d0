package crowd

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
	"net/http"
	"strconv"
)

// challenge is what a device must do before it may join.
type challenge struct {
	Text string `json:"challenge"`
	Bits int    `json:"bits"`
}

// mostBits is what the crowd's devices do. A gateway asks for no more.
const mostBits = 32

// work does what a visitor's device is asked to, and returns the cookie that shows
// it; nil: nothing is asked, or ctx ended before it was done.
func (t *Target) work(ctx context.Context, c challenge) *http.Cookie {
	if c.Text == "" || c.Bits < 1 || c.Bits > mostBits {
		return nil
	}
	name := workCookie(t.activity)
	if t.page.Scheme == "https" {
		name = hostPrefix + name
	}
	text := append([]byte(c.Text), '.')
	head := len(text)
	for n := int64(0); n&0xffff != 0 || ctx.Err() == nil; n++ {
		text = strconv.AppendInt(text[:head], n, 10)
		sum := sha256.Sum256(text)
		if bits.LeadingZeros64(binary.BigEndian.Uint64(sum[:])) >= c.Bits {
			return &http.Cookie{Name: name, Value: string(text)}
		}
	}
	return nil
}
