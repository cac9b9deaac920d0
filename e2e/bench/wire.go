package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"
)

// connections of wrk, on two threads.
const connections = 64

// pollPath is where a browser asks for its status.
const pollPath = "/_ropeline/status?activity=123"

// side is one of two things that are compared.
type side struct {
	name   string
	server *process
	path   string
	header string // one header line for wrk, or ""
	label  string // in the table; empty: the name
	script string // the file of a wrk script; empty: GET

	// load puts load on the side for a while, and returns what it was answered
	// in a second; nil: by wrk.
	load func(ctx context.Context, s side, d time.Duration) (float64, error)
}

// result is what the rounds of a side came to.
type result struct {
	perSecond []float64
	cpuMicros []float64 // of the server, per request
}

// overWire measures what visitors see: requests per second over loopback.
func overWire(ctx context.Context, binary string, rounds int, each time.Duration) error {
	shop, err := start(ctx, "upstream")
	if err != nil {
		return err
	}
	defer shop.stop()
	proxy, err := start(ctx, "bare", shop.url)
	if err != nil {
		return err
	}
	defer proxy.stop()
	json, err := start(ctx, "constant")
	if err != nil {
		return err
	}
	defer json.stop()
	quiet, err := startGateway(ctx, binary, shop.url, "capacity: 0", "", false)
	if err != nil {
		return err
	}
	defer quiet.stop()
	logging, err := startGateway(ctx, binary, shop.url, "capacity: 0", "", true)
	if err != nil {
		return err
	}
	defer logging.stop()
	full, err := startGateway(ctx, binary, shop.url, "capacity: 1, rate: 1/h", "", false)
	if err != nil {
		return err
	}
	defer full.stop()

	inside, err := cookie(ctx, quiet.url+"/drop")
	if err != nil {
		return err
	}
	insideLogging, err := cookie(ctx, logging.url+"/drop")
	if err != nil {
		return err
	}
	if _, err := cookie(ctx, full.url+"/drop"); err != nil { // takes the one seat
		return err
	}
	waiting, err := cookie(ctx, full.url+"/drop")
	if err != nil {
		return err
	}

	fmt.Println("| | requests/s | its CPU, µs each | against | requests/s | its CPU, µs each | ratio of requests/s |")
	fmt.Println("|---|---|---|---|---|---|---|")
	// The bare proxy is sent the same request, cookie and all.
	bareSide := side{name: "bare reverse proxy", server: proxy, path: "/drop", header: inside}
	for _, pair := range [][2]side{
		{{name: "admitted request", server: quiet, path: "/drop", header: inside}, bareSide},
		{{name: "admitted request, access log on", server: logging, path: "/drop", header: insideLogging}, bareSide},
		{{name: "open route", server: quiet, path: "/"}, bareSide},
		{{name: "status poll", server: full, path: pollPath, header: waiting}, {name: "constant JSON answer", server: json, path: "/"}},
		{{name: "join", server: full, path: "/drop"}, {name: "constant JSON answer", server: json, path: "/"}},
	} {
		if err := compare(ctx, pair[0], pair[1], rounds, each); err != nil {
			return err
		}
	}
	return nil
}

func compare(ctx context.Context, a, b side, rounds int, each time.Duration) error {
	var results [2]result
	var ratios []float64
	for _, s := range []side{a, b} {
		if _, err := load(ctx, s, time.Second); err != nil { // warm up
			return err
		}
	}
	for range rounds {
		var speeds [2]float64
		for i, s := range []side{a, b} {
			before, err := s.server.cpuTime()
			if err != nil {
				return err
			}
			speeds[i], err = load(ctx, s, each)
			if err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
			after, err := s.server.cpuTime()
			if err != nil {
				return err
			}
			results[i].perSecond = append(results[i].perSecond, speeds[i])
			results[i].cpuMicros = append(results[i].cpuMicros, float64((after-before).Microseconds())/(speeds[i]*each.Seconds()))
		}
		ratios = append(ratios, speeds[0]/speeds[1])
	}
	fmt.Printf("| %s | %.0f | %.0f | %s | %.0f | %.0f | **%.2f** (%.2f–%.2f) |\n", cmp.Or(a.label, a.name),
		median(results[0].perSecond), median(results[0].cpuMicros), cmp.Or(b.label, b.name), median(results[1].perSecond), median(results[1].cpuMicros),
		median(ratios), slices.Min(ratios), slices.Max(ratios))
	return nil
}

// load runs wrk and returns the requests per second that were answered.
func load(ctx context.Context, s side, d time.Duration) (float64, error) {
	if s.load != nil {
		return s.load(ctx, s, d)
	}
	args := []string{"-t2", "-c" + strconv.Itoa(connections), fmt.Sprintf("-d%ds", int(d.Seconds()))}
	if s.header != "" {
		args = append(args, "-H", s.header)
	}
	if s.script != "" {
		args = append(args, "-s", s.script)
	}
	out, err := exec.CommandContext(ctx, "wrk", append(args, s.server.url+s.path)...).CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) {
		return 0, errors.New("wrk is missing: apt-get install wrk")
	}
	if err != nil {
		return 0, fmt.Errorf("wrk: %w: %s", err, out)
	}
	text := string(out)
	if s.name != "join" && strings.Contains(text, "Non-2xx") { // a join is answered 503 by contract
		return 0, fmt.Errorf("answers other than 200:\n%s", text)
	}
	return strconv.ParseFloat(field(text, "Requests/sec"), 64)
}

// cookie makes one request and returns the cookie it is answered with, as a
// header line.
func cookie(ctx context.Context, url string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	request.Header.Set("Accept", "text/html")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	_, _ = io.Copy(io.Discard, answer.Body)
	for _, c := range answer.Cookies() {
		return "Cookie: " + c.Name + "=" + c.Value, nil
	}
	return "", fmt.Errorf("%s: %s without a cookie", url, answer.Status)
}

// field returns what stands behind a name and a colon in a line of text.
func field(text, name string) string {
	for line := range strings.Lines(text) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func median(of []float64) float64 {
	sorted := slices.Sorted(slices.Values(of))
	return sorted[len(sorted)/2]
}
