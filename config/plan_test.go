package config

import (
	"errors"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/ropeline/ropeline/golden"
)

// TestLoadPlan_Bad holds each bad plan to the problems beside it in NAME.txt.
func TestLoadPlan_Bad(t *testing.T) {
	for file := range corpus(t, "testdata/plan/*.yaml") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			_, err := LoadPlan(file, nil)
			var problems Problems
			if !errors.As(err, &problems) {
				t.Fatalf("got the error %v, want Problems", err)
			}
			golden.File(t, strings.TrimSuffix(file, ".yaml")+".txt", strings.ReplaceAll(err.Error(), "testdata/plan/", "")+"\n")
		})
	}
}

func TestLoadPlan_TheExample(t *testing.T) {
	// The environment fills in, and overrides nothing.
	p, err := LoadPlan("../examples/simulate/plan.yaml", []string{"ROPELINE_NAME=Other", "ROPELINE_START=3s"})
	if err != nil {
		t.Fatal(err)
	}
	if p.Name != "Spring drop" || p.Start != 10*time.Minute || p.Runs != 3 {
		t.Errorf("name %q, start %v, runs %d", p.Name, p.Start, p.Runs)
	}
	if want := (Crowd{Stay: 4 * time.Minute, Spread: "heavy", Ends: .3, NoShow: .08, Patience: 2 * time.Hour, Buys: .4, Comes: 2 * time.Second}); p.Visitors != want {
		t.Errorf("visitors %+v, want %+v", p.Visitors, want)
	}
	var names []string
	for _, s := range p.Settings {
		names = append(names, s.Name)
	}
	if want := []string{"as planned", "twice as many", "idle 3m, drawn"}; !reflect.DeepEqual(names, want) {
		t.Errorf("settings %q, want those of the file in their order, %q", names, want)
	}
	if s := p.Settings[0]; s.Burst != 4 || s.Claim != 90*time.Second || s.Session.Idle != 10*time.Minute || s.Stock.Initial != 15000 {
		t.Errorf("defaults of an activity: %+v", s)
	}
	if s := p.Settings[2]; s.Order != "draw" || s.Session.Idle != 3*time.Minute {
		t.Errorf("third setting: %+v", s)
	}
	if got := p.Problem("demand", "is wrong").String(); !strings.HasSuffix(got, "plan.yaml:6:3: demand: is wrong") {
		t.Errorf("a problem found later stands at %s", got)
	}
}
