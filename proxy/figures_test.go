package proxy

import (
	"net/http"
	"testing"
)

func TestFigures_CountWhatWasAnsweredAndWhatWasNot(t *testing.T) {
	shop := openShop(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/broken" {
			panic(http.ErrAbortHandler)
		}
		w.WriteHeader(http.StatusNoContent)
	})
	g := open(t, shop.URL)
	g.crowd(5, "/")
	g.crowd(2, "/broken")
	all := g.Upstreams()
	if len(all) != 1 {
		t.Fatalf("%d upstreams, want 1", len(all))
	}
	f := all[0]
	if f.Name != "shop" || f.Servers != 1 || f.Open || f.Answered != 5 || f.Failures != 2 {
		t.Errorf("got %+v", f)
	}
	if n := len(f.Within); n == 0 || n != len(f.Bounds) || f.Within[n-1] != 5 {
		t.Errorf("answered within %v: %v", f.Bounds, f.Within)
	}
}
