# Ropeline. `make` alone lists the targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help
BIN := bin/ropeline
GOTEST := go test -race -shuffle=on

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build the gateway and the demo shop into bin/
	CGO_ENABLED=0 go build -trimpath -o $(BIN) ./cmd/ropeline
	CGO_ENABLED=0 go build -trimpath -o bin/shop ./examples/shop

.PHONY: run
run: build ## Run the gateway in front of the demo shop: http://localhost:8080/
	@./examples/quickstart/run.sh

.PHONY: deps
deps: ## Install what the tests need and is missing (Debian, Ubuntu)
	@./.ci/deps

.PHONY: check
check: ## The quick checks: format, vet, staticcheck, shellcheck, govulncheck, every test that needs no browser and no server
	@unformatted=$$(gofmt -l .); [ -z "$$unformatted" ] || { echo "gofmt would change:"; echo "$$unformatted"; exit 1; }
	go vet ./...
	go mod verify
	go run honnef.co/go/tools/cmd/staticcheck@v0.8.2 ./...
	@command -v shellcheck >/dev/null || { echo "shellcheck is missing: apt-get install shellcheck, or make deps"; exit 1; }
	shellcheck $$(grep -rlE '^#!.*(/| )(ba)?sh$$' .ci/run .ci/deps examples packaging)
	@if curl -fsS -m 5 -o /dev/null https://vuln.go.dev/index/db.json 2>/dev/null; then \
		go run golang.org/x/vuln/cmd/govulncheck@v1.9.0 ./...; \
	else echo "known vulnerabilities are NOT looked for: https://vuln.go.dev cannot be reached"; fi
	$(GOTEST) -short $$(go list ./... | grep -v -e /e2e -e /redisstore -e /postgres -e /catalog -e /certs)

.PHONY: test
test: deps build ## Install what is missing, then run every test
	@unformatted=$$(gofmt -l .); [ -z "$$unformatted" ] || { echo "gofmt would change:"; echo "$$unformatted"; exit 1; }
	go vet ./...
	go build -race ./...
	@# A package at a time: several crowds at once are more than two cores bear.
	$(GOTEST) -p 1 -timeout 20m ./...

.PHONY: bench
bench: build bin/caddy ## Measure the gateway side by side with a bare proxy, and with other edges
	go run ./e2e/bench -caddy bin/caddy

bin/caddy:
	GOBIN=$(CURDIR)/bin go install github.com/caddyserver/caddy/v2/cmd/caddy@v2.11.9

.PHONY: faults
faults: deps ## Make every fault under a crowd, and check that no promise was broken
	go test -count 1 -timeout 40m -v -run TestFaults ./e2e -faults

MINUTES ?= 30
.PHONY: soak
soak: ## Serve a crowd for MINUTES=30, and check that nothing grows
	go test -count 1 -timeout 0 -v -run TestSoak ./e2e -soak $(MINUTES)m

.PHONY: sheets
sheets: ## Photograph the waiting page in every state, and the console, into docs/sheets
	go test -count 1 -run '^(TestLook|TestConsole)$$' ./e2e -sheets $(CURDIR)/docs/sheets

.PHONY: deb
deb: ## Make a Debian package in dist/
	@./packaging/deb

.PHONY: release
release: ## Make archives of a release in dist/, with checksums and bills of materials
	@./packaging/release

.PHONY: clean
clean: ## Remove what was built
	rm -rf bin dist
