package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestShop_ShowsTheNumberThatTheGatewayTells(t *testing.T) {
	server := httptest.NewServer(shop())
	defer server.Close()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/drop", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Ropeline-Activity", "123")
	r.Header.Set("Ropeline-Number", "4211")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	page, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"<strong>4211</strong>", `action="/_ropeline/leave?activity=123&amp;to=/"`} {
		if !strings.Contains(string(page), want) {
			t.Errorf("the drop lacks %s:\n%s", want, page)
		}
	}
}

func TestShop_AnswersOnlyWhatItSells(t *testing.T) {
	server := httptest.NewServer(shop())
	defer server.Close()
	for path, want := range map[string]int{"/": 200, "/drop": 200, "/nothing": 404, "/drop/buy": 405} {
		answer, err := http.Get(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != want {
			t.Errorf("GET %s: got %d, want %d", path, answer.StatusCode, want)
		}
	}
}
