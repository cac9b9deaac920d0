package api_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// nowhere is an answer that nobody reads.
type nowhere struct{ h http.Header }

func (n nowhere) Header() http.Header         { return n.h }
func (n nowhere) Write(b []byte) (int, error) { return len(b), nil }
func (n nowhere) WriteHeader(int)             {}

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
