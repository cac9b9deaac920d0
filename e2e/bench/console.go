package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/ropeline/ropeline/web/api"
)

const (
	// onlookers are how many consoles, or scrapes a second, are measured
	// together: one alone is lost in the processor's clock of ten milliseconds.
	onlookers = 100

	// watched is how many lines the gateway has, and the length of each.
	watched = 10

	consoleSecret = "the secret of a gateway that is measured"
)

// overConsole measures what it costs a gateway that operators look at it: that
// a console is open, which asks once a second, and that its metrics are read.
func overConsole(ctx context.Context, binary string, rounds int, each time.Duration) error {
	dir, err := os.MkdirTemp("", "ropeline-bench-")
	if err != nil {
		return err
	}
	text := fmt.Sprintf("listen: {http: \"127.0.0.1:0\", admin: \"127.0.0.1:0\"}\nstore: {path: %q}\ndrain: {delay: 0s, grace: 1s}\n"+
		"admin: {jwt: {secret: %q}}\nupstreams: {shop: {servers: [{url: \"http://127.0.0.1:1\"}]}}\nactivities:\n", filepath.Join(dir, "ropeline.db"), consoleSecret)
	for id := range watched {
		text += fmt.Sprintf("  - {id: %d, name: Bench, capacity: 500, rate: 10/s}\n", id+1)
	}
	text += "routes:\n"
	for id := range watched {
		text += fmt.Sprintf("  - {path: /drop%d, activity: %d, upstream: shop}\n", id+1, id+1)
	}
	file := filepath.Join(dir, "ropeline.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return err
	}
	gateway, err := runGateway(ctx, binary, file, "admin")
	if err != nil {
		return err
	}
	defer gateway.stop()
	url := "http" + gateway.url[len("admin"):]
	token, err := api.SignToken([]byte(consoleSecret), "", "ropeline-admin", api.Claims{Subject: "bench", Role: api.Viewer}, time.Now().Add(time.Hour))
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: onlookers}}
	read := func(path string) ([]byte, error) {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, url+path, nil)
		if err != nil {
			return nil, err
		}
		r.AddCookie(&http.Cookie{Name: "ropeline-console", Value: token})
		answer, err := client.Do(r)
		if err != nil {
			return nil, err
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		if err == nil && answer.StatusCode != http.StatusOK {
			err = fmt.Errorf("%s answers %s: %s", path, answer.Status, body)
		}
		return body, err
	}

	after := make([]int64, onlookers)
	looks := []struct {
		name string
		look func(who, second int) error // once a second
	}{
		{"nobody looks", nil},
		{"a console shows a line", func(who, second int) error {
			path := "/console/api/v1/admin/activities/1/live"
			if after[who] > 0 {
				path += "?after=" + strconv.FormatInt(after[who], 10)
			}
			body, err := read(path)
			if err != nil {
				return err
			}
			var answer struct {
				Data struct {
					Seconds []struct {
						At int64 `json:"at"`
					} `json:"seconds"`
				} `json:"data"`
			}
			if err := json.Unmarshal(body, &answer); err != nil {
				return err
			}
			if n := len(answer.Data.Seconds); n > 0 {
				after[who] = answer.Data.Seconds[n-1].At
			}
			if second%2 == 0 {
				_, err = read("/health")
			}
			return err
		}},
		{"a console shows all lines", func(int, int) error { _, err := read("/console/api/v1/admin/live"); return err }},
		{"metrics are read once a second", func(int, int) error { _, err := read("/metrics"); return err }},
	}
	used := make([][]float64, len(looks)) // milliseconds a second
	seconds := max(1, int(each/time.Second))
	for range rounds {
		for i, l := range looks {
			before, err := gateway.cpuTime()
			if err != nil {
				return err
			}
			began := time.Now()
			var work sync.WaitGroup
			errs := make([]error, onlookers)
			for who := range onlookers {
				work.Go(func() {
					beat := time.NewTicker(time.Second)
					defer beat.Stop()
					time.Sleep(time.Duration(who) * time.Second / onlookers)
					for second := range seconds {
						if l.look != nil {
							if err := l.look(who, second); err != nil {
								errs[who] = err
								return
							}
						}
						select {
						case <-beat.C:
						case <-ctx.Done():
							return
						}
					}
				})
			}
			work.Wait()
			if err := errors.Join(errs...); err != nil {
				return err
			}
			spent, err := gateway.cpuTime()
			if err != nil {
				return err
			}
			used[i] = append(used[i], (spent-before).Seconds()*1000/time.Since(began).Seconds())
		}
	}
	fmt.Printf("\n| of a gateway with %d lines | its CPU, ms a second | for each |\n|---|---|---|\n", watched)
	for i, l := range looks {
		if l.look == nil {
			fmt.Printf("| %s | %.1f (%.1f–%.1f) | |\n", l.name, median(used[i]), slices.Min(used[i]), slices.Max(used[i]))
			continue
		}
		var more []float64
		for round, ms := range used[i] {
			more = append(more, (ms-used[0][round])/onlookers)
		}
		fmt.Printf("| %s, %d times over | %.1f (%.1f–%.1f) | **%.2f** (%.2f–%.2f) |\n", l.name, onlookers,
			median(used[i]), slices.Min(used[i]), slices.Max(used[i]), median(more), slices.Min(more), slices.Max(more))
	}
	return nil
}
