package webhook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Hook is one program that is told.
type Hook struct {
	URL        string
	Secret     string  // empty: not signed
	Events     []Kind  // empty: all
	Activities []int64 // empty: all
	Private    bool    // the address may be in a private network, and plain HTTP
}

// key names a hook on the board without telling its address, which may hold a
// secret.
func (h Hook) key() string {
	sum := sha256.Sum256([]byte(h.URL))
	return hex.EncodeToString(sum[:8])
}

// host is what logs say of its address.
func (h Hook) host() string {
	u, err := url.Parse(h.URL)
	if err != nil {
		return ""
	}
	return u.Host
}

func (h Hook) wants(e Event) bool {
	return (len(h.Events) == 0 || slices.Contains(h.Events, e.Type)) &&
		(len(h.Activities) == 0 || slices.Contains(h.Activities, e.Activity.ID))
}

// Key is the key that a secret stands for: of the form whsec_… the bytes that
// follow in base64, else the text itself.
func Key(secret string) ([]byte, error) {
	text, encoded := strings.CutPrefix(secret, "whsec_")
	if !encoded {
		return []byte(secret), nil
	}
	key, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, errors.New("what follows whsec_ is not base64")
	}
	return key, nil
}

// Sign is the signature of a message, as Standard Webhooks has it: HMAC-SHA256
// over id, time and body.
func Sign(key []byte, id string, at time.Time, body []byte) string {
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%d.", id, at.Unix()) // it never fails
	mac.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// How long a receiver may take.
const (
	connectTime = 5 * time.Second
	answerTime  = 15 * time.Second
)

// errGone is a receiver's answer that it wants no more of this.
var errGone = errors.New("the receiver answered 410 Gone")

// caller sends to hooks of one kind of address.
func caller(private bool) *http.Client {
	dialer := &net.Dialer{Timeout: connectTime}
	if !private {
		// After the name was looked up: a name that leads elsewhere by the time it
		// is called gains nothing.
		dialer.Control = func(_, address string, _ syscall.RawConn) error { return public(address) }
	}
	return &http.Client{
		Timeout:       answerTime,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext: dialer.DialContext, TLSHandshakeTimeout: connectTime,
			MaxIdleConnsPerHost: 1, IdleConnTimeout: time.Minute, ForceAttemptHTTP2: true,
		},
	}
}

// Networks that are nobody's on the Internet, besides those netip knows.
var reserved = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("2002::/16"),
}

// public refuses an address that is not on the Internet.
func public(address string) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	a := at.Addr().Unmap()
	if !a.IsGlobalUnicast() || a.IsPrivate() || slices.ContainsFunc(reserved, func(p netip.Prefix) bool { return p.Contains(a) }) {
		return fmt.Errorf("%v is in a private or reserved network; set private: true to call it", a)
	}
	return nil
}

// send tells a hook of an event. nil: it has taken it.
func send(ctx context.Context, client *http.Client, h Hook, e Event, now time.Time) error {
	body, err := json.Marshal(e)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, h.URL, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "Ropeline-Webhook/1")
	r.Header.Set("Webhook-Id", e.ID)
	r.Header.Set("Webhook-Timestamp", strconv.FormatInt(now.Unix(), 10))
	if h.Secret != "" {
		key, err := Key(h.Secret)
		if err != nil {
			return err
		}
		r.Header.Set("Webhook-Signature", Sign(key, e.ID, now, body))
	}
	answer, err := client.Do(r)
	if err != nil {
		var failed *url.Error
		if errors.As(err, &failed) {
			return failed.Err // it would tell the address
		}
		return err
	}
	defer answer.Body.Close()
	_, _ = io.CopyN(io.Discard, answer.Body, 64<<10) // so that the connection can be used again
	switch {
	case answer.StatusCode == http.StatusGone:
		return errGone
	case answer.StatusCode/100 != 2:
		return fmt.Errorf("the receiver answered %s", answer.Status)
	}
	return nil
}
