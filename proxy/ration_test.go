package proxy

import (
	"testing"
	"time"
)

func TestRation_GivesSoManyASecondAndSaysWhatWasTooMuch(t *testing.T) {
	r := ration{most: 3}
	at := time.Unix(1_800_000_000, 0)
	for i := range 5 {
		if ok, over := r.take(at.Add(time.Duration(i) * 100 * time.Millisecond)); ok != (i < 3) || over != 0 {
			t.Errorf("line %d: %v, %d over", i+1, ok, over)
		}
	}
	if ok, over := r.take(at.Add(time.Second)); !ok || over != 2 {
		t.Errorf("the next second: %v, %d over; want one, and 2 told", ok, over)
	}
	if ok, over := r.take(at.Add(time.Minute)); !ok || over != 0 {
		t.Errorf("after a second that was not full: %v, %d over", ok, over)
	}
	unlimited := ration{}
	for range 1000 {
		if ok, over := unlimited.take(at); !ok || over != 0 {
			t.Fatalf("without a limit: %v, %d over", ok, over)
		}
	}
}
