# make run and make test do all their own set-up; the others are for developers.
export CGO_ENABLED := 0

GO       ?= go
VERSION  := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
FUZZTIME ?= 100000x

.PHONY: run build test check docs peers bench bench-api bench-journals bench-limits fuzz clean

run: build
	./bin/onhook dev

build:
	$(GO) build -ldflags "-X main.version=$(VERSION)" -o bin/onhook ./cmd/onhook

# The whole suite, real phones and browsers included.
test: peers fuzz
	$(GO) test -timeout 9m ./...
	$(GO) test -C bench/journals -mod=mod -timeout 2m ./... # a module of its own: what it compares with is not the program's

# What the tests talk to: baresip, SIPp, Chromium with JsSIP, PostgreSQL. Installed where
# the system allows; with CI=true a missing one fails the run.
peers:
	./scripts/install-peers.sh

check:
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); \
		if [ -n "$$unformatted" ]; then echo "not gofmt'd:" $$unformatted; exit 1; fi
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	$(GO) test ./internal/law/... ./internal/config/...
	$(GO) run ./cmd/onhook config example | diff docs/config.example.yaml - # make docs writes it anew
	$(GO) mod tidy -diff
	$(GO) vet -C bench/journals -mod=mod ./...

# Writes the pages that are generated from the code.
docs:
	$(GO) run ./cmd/onhook config example > docs/config.example.yaml
	$(GO) test ./internal/law -update
	$(GO) test ./internal/server -run MetricsPage -update

# Writes docs/performance.md and docs/performance-api.md; see ./bench.
bench:
	$(GO) run ./bench -out docs/performance.md
	@$(MAKE) --no-print-directory bench-api

# Writes docs/limits.md: overload, a restart under load, memory. Some ten minutes.
bench-limits:
	$(GO) run ./bench -limits -out docs/limits.md

# Writes docs/performance-api.md: the API over a million endpoints, with both databases. Some five minutes.
bench-api:
	$(GO) run ./bench -api -out docs/performance-api.md

# Writes docs/journals.md: the engines of the binding journal compared.
bench-journals:
	cd bench/journals && $(GO) run . -out ../../docs/journals.md

# Every fuzz target for FUZZTIME: a count of inputs, since with a duration Go itself
# fails a run now and then ("context deadline exceeded", golang.org/issue/75804).
fuzz:
	@for target in $$(grep -rlE '^func Fuzz' --include='*_test.go' internal); do \
		for name in $$(grep -oE '^func Fuzz[A-Za-z0-9]+' $$target | cut -d' ' -f2); do \
			echo "fuzz $$name ($(FUZZTIME))"; \
			$(GO) test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) ./$$(dirname $$target) || exit 1; \
		done; \
	done

clean:
	rm -rf bin
