package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/ropeline/ropeline/admission/postgres/postgrestest"
)

// Scripts for wrk that join each time as another visitor. Both sides have one,
// as it costs wrk something to run it and what wrk uses the gateway lacks.
const (
	visitorScript = `
local threads = 0
function setup(thread)
  thread:set("me", threads)
  threads = threads + 1
end
function init() start = os.time() end
local visitors = 0
local function visitor(format)
  visitors = visitors + 1
  return string.format(format, start, me, visitors)
end
`
	enterScript = visitorScript + `
function request()
  return wrk.format("POST", nil, {["Content-Type"] = "application/json"},
    visitor('{"activity_id":123,"user_hash":"%d-%d-%d","fingerprint":"fp"}'))
end
`
	arriveScript = visitorScript + `
function request()
  return wrk.format("GET", nil, {["User-Agent"] = visitor("bench/%d-%d-%d")})
end
`
)

// overAPI measures joins and polls by the queue API beside those by cookies, on
// a gateway that keeps the record in PostgreSQL.
func overAPI(ctx context.Context, binary string, rounds int, each time.Duration) error {
	database, err := postgrestest.Open("synchronous_commit = on")
	if err != nil {
		return err
	}
	defer database.Close()
	dir, err := os.MkdirTemp("", "ropeline-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	entering, arriving := filepath.Join(dir, "enter.lua"), filepath.Join(dir, "arrive.lua")
	for path, script := range map[string]string{entering: enterScript, arriving: arriveScript} {
		if err := os.WriteFile(path, []byte(script), 0o600); err != nil {
			return err
		}
	}
	shop, err := start(ctx, "upstream")
	if err != nil {
		return err
	}
	defer shop.stop()
	full, err := startGateway(ctx, binary, shop.url, "capacity: 1, rate: 1/h", "", false,
		"api: {enabled: true, enter_limit: \"\"}", fmt.Sprintf("database: {url: %q}", database.URL("postgres")))
	if err != nil {
		return err
	}
	defer full.stop()
	if _, err := cookie(ctx, full.url+"/drop"); err != nil { // takes the one seat
		return err
	}
	waiting, err := cookie(ctx, full.url+"/drop")
	if err != nil {
		return err
	}
	session, err := enter(ctx, full.url)
	if err != nil {
		return err
	}
	const api = "/_ropeline/api/v1/queue/"
	for _, pair := range [][2]side{
		{{name: "join by the queue API, with the record", server: full, path: api + "enter", script: entering},
			{name: "join", label: "join by cookie", server: full, path: "/drop", script: arriving}},
		{{name: "poll by the queue API, with the record", server: full, path: api + "status?activity_id=123", header: "Authorization: Bearer " + session},
			{name: "status poll", label: "poll by cookie", server: full, path: pollPath, header: waiting}},
	} {
		if err := compare(ctx, pair[0], pair[1], rounds, each); err != nil {
			return err
		}
	}
	return nil
}

// enter takes a place by the queue API and returns its token.
func enter(ctx context.Context, url string) (string, error) {
	body := bytes.NewReader([]byte(`{"activity_id":123,"user_hash":"bench"}`))
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/_ropeline/api/v1/queue/enter", body)
	if err != nil {
		return "", err
	}
	request.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	var said struct {
		Data struct {
			SessionID string `json:"session_id"`
		} `json:"data"`
	}
	if err := json.NewDecoder(answer.Body).Decode(&said); err != nil || said.Data.SessionID == "" {
		return "", fmt.Errorf("enter: %s, %w", answer.Status, err)
	}
	return said.Data.SessionID, nil
}
