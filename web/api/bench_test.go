package api_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/ropeline/ropeline/admission"
)

// nowhere is an answer that nobody reads.
type nowhere struct{ h http.Header }

func (n nowhere) Header() http.Header         { return n.h }
func (n nowhere) Write(b []byte) (int, error) { return len(b), nil }
func (n nowhere) WriteHeader(int)             {}

// BenchmarkQueue_Enter is a join of a visitor who will wait, with many others,
// to a line that is in memory alone.
func BenchmarkQueue_Enter(b *testing.B) {
	q := makeQueue(b, func(s *queueSetup) { s.store = admission.NewMemory(nil) })
	template := httptest.NewRequest("POST", enter, nil)
	template.Header.Set("Content-Type", "application/json")
	var users atomic.Int64
	b.SetParallelism(32)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			r := *template
			r.Body = io.NopCloser(strings.NewReader(fmt.Sprintf(`{"activity_id":123,"user_hash":"user-%d","fingerprint":"fp"}`, users.Add(1))))
			q.handler.ServeHTTP(nowhere{http.Header{}}, &r)
		}
	})
}

// BenchmarkQueue_Status is a poll of a visitor who waits.
func BenchmarkQueue_Status(b *testing.B) {
	q := makeQueue(b)
	q.client = inside(b, q.handler)
	q.come("inside")
	session := q.come("u").session(b)
	q.ask("GET", statusOf(session), "")
	r := httptest.NewRequest("GET", statusOf(session), nil)
	b.ReportAllocs()
	for b.Loop() {
		q.handler.ServeHTTP(nowhere{http.Header{}}, r)
	}
}
