package proxy

import (
	"errors"
	"io"
	"time"
)

// errStalled is why a request ended whose body the upstream took nothing of.
var errStalled = errors.New("the upstream takes nothing of the request's body")

// paced is the body of an answer whose sender may pause for so long and no
// longer.
type paced struct {
	io.ReadCloser
	idle  time.Duration
	timer *time.Timer // closes the body; runs while it is read
}

func newPaced(body io.ReadCloser, idle time.Duration) *paced {
	p := &paced{ReadCloser: body, idle: idle}
	p.timer = time.AfterFunc(idle, func() { body.Close() })
	p.timer.Stop()
	return p
}

func (p *paced) Read(b []byte) (int, error) {
	p.timer.Reset(p.idle)
	defer p.timer.Stop()
	return p.ReadCloser.Read(b)
}

func (p *paced) Close() error {
	p.timer.Stop()
	return p.ReadCloser.Close()
}
