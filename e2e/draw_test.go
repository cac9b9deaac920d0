package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"testing"
	"time"
)

// TestDraw_IsCheckedOnThePageOfWhoWasDrawn lives through a draw in a browser, and
// holds the page's own arithmetic to the vectors that the gateway is held to.
func TestDraw_IsCheckedOnThePageOfWhoWasDrawn(t *testing.T) {
	t.Parallel()
	b := openBrowser(t)
	shop := openShop(t)
	begins := time.Now().Add(8 * time.Second)
	g := start(t, settings(shop, fmt.Sprintf("capacity: 1, order: draw, prequeue: 1h, start_at: %s", begins.Format(time.RFC3339Nano))))

	// Of two in the draw one is let in, and the other waits.
	first := b.Person(t, g)
	first.Open("/drop")
	first.Wait("the first is in the draw", `document.getElementById("page").dataset.state === "before" && document.querySelector("[data-fact=index] dd").textContent === "0"`)

	p := b.Person(t, g)
	p.Open("/drop")
	p.Wait("the page tells of the draw", `document.getElementById("page").dataset.state === "before" && document.getElementById("draw") !== null`)
	p.Click("#draw summary")
	before := p.Text("#draw")
	commitment := regexp.MustCompile(`[0-9a-f]{64}`).FindString(before)
	if !regexp.MustCompile(`Your index\s+1\s`).MatchString(before+"\n") || commitment == "" {
		t.Errorf("before the start the page tells %q, want the commitment and index 1", before)
	}
	checkVectors(t, p)

	const checked = `document.getElementById("page") !== null && document.getElementById("page").dataset.state === "waiting" &&
		document.querySelector("#draw p").textContent === document.getElementById("draw").dataset.right`
	eventually(t, "one of the two is let in, and the other's page checks what was drawn", func() bool {
		one, err1 := evaluate[bool](first, checked)
		two, err2 := evaluate[bool](p, checked)
		in1, err3 := evaluate[bool](first, `document.getElementById("inside") !== null`)
		in2, err4 := evaluate[bool](p, `document.getElementById("inside") !== null`)
		return errors.Join(err1, err2, err3, err4) == nil && (one && in2 || two && in1)
	})
	other := b.Person(t, g) // who comes after the start has no index, and can check the seed all the same
	other.Open("/drop")
	other.Wait("a later visitor's page checks the seed", `document.getElementById("page") !== null && document.querySelector("#draw p").textContent === document.getElementById("draw").dataset.late`)
	if got, err := evaluate[string](other, `document.querySelector("[data-fact=commitment] dd").textContent`); err != nil || got != commitment {
		t.Errorf("after the draw the commitment is %q, and was %q before the start: %v", got, commitment, err)
	}
	// A number that was not drawn is told so.
	wrong, err := evaluate[bool](other, `(function () {
		const status = JSON.parse(document.getElementById("status").textContent);
		status.draw.index = 0;
		status.number = ropelineDraw.number(status.draw.seed, "", status.draw.n, 0) % status.draw.n + 1;
		ropelineDraw.show(status);
		return document.querySelector("#draw p").textContent === document.getElementById("draw").dataset.wrong;
	})()`)
	if err != nil || !wrong {
		t.Errorf("the page takes a number that was not drawn: %v", err)
	}
	// An index above the drawn has its number by arrival, and nothing is wrong with it.
	late, err := evaluate[bool](other, `(function () {
		const status = JSON.parse(document.getElementById("status").textContent);
		status.draw.index = status.draw.n;
		status.number = status.draw.n + 1;
		ropelineDraw.show(status);
		return document.querySelector("#draw p").textContent === document.getElementById("draw").dataset.late;
	})()`)
	if err != nil || !late {
		t.Errorf("the page objects to a number that was not the draw's to give: %v", err)
	}
}

// checkVectors has the page find what is written of known draws.
func checkVectors(t *testing.T, p *tab) {
	t.Helper()
	text, err := os.ReadFile("../admission/testdata/draw-vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct {
		Seed       string           `json:"seed"`
		Commitment string           `json:"commitment"`
		Beacon     string           `json:"beacon"`
		N          int64            `json:"n"`
		Numbers    map[string]int64 `json:"numbers"`
	}
	if err := json.Unmarshal(text, &vectors); err != nil {
		t.Fatal(err)
	}
	for _, v := range vectors {
		got, err := evaluate[string](p, fmt.Sprintf("ropelineDraw.commitment(%q)", v.Seed))
		if err != nil || got != v.Commitment {
			t.Errorf("the page finds the commitment %q of seed %s, want %s: %v", got, v.Seed, v.Commitment, err)
		}
		for index, want := range v.Numbers {
			got, err := evaluate[int64](p, fmt.Sprintf("ropelineDraw.number(%q, %q, %d, %s)", v.Seed, v.Beacon, v.N, index))
			if err != nil || got != want {
				t.Errorf("of %d places the page finds number %d of index %s, want %d: %v", v.N, got, index, want, err)
			}
		}
	}
}
