package proxy

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"sync/atomic"
)

// budget keeps retries to a tenth of the requests, and a few more where there
// are few: a shop that fails is not asked twice as often for it.
type budget struct{ spent atomic.Int64 } // in tenths of a retry; the zero budget is full

const (
	retryCost = 10
	mostSpent = 10 * retryCost
)

// earn counts a request.
func (b *budget) earn() {
	if b.spent.Load() > 0 {
		b.spent.Add(-1)
	}
}

// spend takes what a retry costs, if it is there.
func (b *budget) spend() bool {
	for {
		spent := b.spent.Load()
		if spent > mostSpent-retryCost {
			return false
		}
		if b.spent.CompareAndSwap(spent, spent+retryCost) {
			return true
		}
	}
}

// unread is a body that stays open, whoever closes it, as long as nothing of it
// was read: then it can still go to another server.
type unread struct {
	io.ReadCloser
	body *body
}

func (u unread) Close() error {
	if !u.body.begun.Load() {
		return nil
	}
	return u.ReadCloser.Close()
}

// mayAskAgain reports whether a request that failed may be sent to another
// server: nothing of it was sent, or it is one that changes nothing, has no
// body, and was not answered at all. One that was not answered in time has been
// waited for long enough.
func (x *exchange) mayAskAgain(out *http.Request, err error) bool {
	switch {
	case x.Context.Err() != nil || x.body.begun.Load():
		return false
	case isUnsent(err):
		return true
	}
	safe := out.Method == http.MethodGet || out.Method == http.MethodHead || out.Method == http.MethodOptions
	return safe && (out.Body == nil || out.Body == http.NoBody) && isReset(err)
}

// isUnsent reports whether an error says that there was no connection on which
// a request could have been sent.
func isUnsent(err error) bool {
	var (
		op          *net.OpError
		certificate *tls.CertificateVerificationError
		record      tls.RecordHeaderError
	)
	return errors.As(err, &op) && op.Op == "dial" || errors.As(err, &certificate) || errors.As(err, &record)
}
