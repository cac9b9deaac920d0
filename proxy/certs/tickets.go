package certs

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"time"
)

// ticketLife is how long one key makes session tickets. They are good for one
// life more.
const ticketLife = 12 * time.Hour

// Tickets gives listeners the keys of TLS session tickets, so that a visitor
// resumes at one gateway what began at another: each derives them from a secret
// that all share, and from the clock. Gateways whose clocks differ by less than
// ticketLife understand each other.
type Tickets struct{ secret []byte }

// NewTickets returns Tickets of a secret of at least 32 bytes. Other uses of
// the secret do not show the keys.
func NewTickets(secret []byte) Tickets { return Tickets{secret} }

// Run gives c its keys until ctx ends. c must not be cloned before a listener
// uses it. The first keys are set before Run waits; a handshake before that
// gets tickets that only this process understands.
func (t Tickets) Run(ctx context.Context, c *tls.Config) error {
	for {
		now := time.Now()
		if err := t.Set(c, now); err != nil {
			return err
		}
		next := time.NewTimer(now.Truncate(ticketLife).Add(ticketLife).Sub(now))
		select {
		case <-ctx.Done():
			next.Stop()
			return nil
		case <-next.C:
		}
	}
}

// Set gives c the keys of an instant: that period's, which makes tickets, the
// last one's, and the next one's, which a gateway whose clock is ahead may have
// used.
func (t Tickets) Set(c *tls.Config, now time.Time) error {
	period := now.UnixNano() / int64(ticketLife)
	var keys [][32]byte
	for _, p := range []int64{period, period - 1, period + 1} {
		key, err := hkdf.Key(sha256.New, t.secret, nil, fmt.Sprintf("ropeline session ticket %d", p), 32)
		if err != nil {
			return fmt.Errorf("keys of session tickets: %w", err)
		}
		keys = append(keys, [32]byte(key))
	}
	c.SetSessionTicketKeys(keys)
	return nil
}
