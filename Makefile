STATICCHECK := go run honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOFUMPT     := go run mvdan.cc/gofumpt@v0.12.0
# How long a fuzz test goes on, as a count of inputs: one that ends by the clock may fail with "context deadline exceeded"
# though nothing was found (go.dev/issue/75804, mended in Go 1.27).
FUZZTIME    ?= 40000x
RUNS        ?= 3
# A decoder's fuzz test, as package:function.
FUZZ := $(shell grep -rlE '^func Fuzz' --include='*_test.go' . | xargs grep -hoE '^func Fuzz[A-Za-z]+' /dev/null --with-filename | sed -E 's,^\./,,; s,/[^/]*_test\.go:func ,:,')

.PHONY: help build check lint test full e2e sim-table sim-long sim-storms fuzz bench bench-limits bench-append bench-converge bench-join bench-heal bench-latency bench-deliver bench-topics bench-process bench-long bench-parts bench-peer mutants generate

help: ## print this list
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

build: ## build bin/cairn without cgo
	CGO_ENABLED=0 go build -o bin/cairn ./cmd/cairn

check: lint build test full e2e fuzz ## all that must pass before a change lands

lint: ## vet, staticcheck and the format
	go vet ./...
	go vet -tags process ./e2e/...
	go vet -tags long ./e2e
	$(STATICCHECK) ./...
	cd bench && go vet ./... && $(STATICCHECK) ./...
	@test -z "$$($(GOFUMPT) -l . | tee /dev/stderr)" || { echo 'run: make fmt'; exit 1; }

fmt: ## format every file
	$(GOFUMPT) -w .

test: ## the tests, with the race detector
	.ci/race ./...
	cd bench && ../.ci/race ./...

full: ## at full size, what is smaller with the race detector
	go test -count=1 -timeout 20m ./syncer ./store/...

e2e: build ## real daemons: killed, restarted, joined late, cut off in network namespaces
	go test -tags process -count=1 -timeout 20m ./e2e/...

sim-table: ## every case of the simulation for three seeds, and the table of docs/simulation.md; about three quarters of an hour
	go run ./e2e/cases -seeds 3 -write docs/simulation.md

sim-long: ## 100 nodes for an hour of virtual time, with churn, partitions and loss; about half an hour
	go test -tags long -count=1 -timeout 3h -run '^TestLong$$' -v ./e2e

sim-storms: ## hostile peers with CAIRN_HOSTILE (1000000) heads and orphans
	go test -tags long -count=1 -timeout 3h -run '^TestHostileBig$$' -v ./e2e

fuzz: ## each decoder's fuzz test for FUZZTIME (40000x: so many inputs)
	@for f in $(FUZZ); do \
		echo "fuzz $$f"; \
		go test "./$${f%%:*}" -run '^$$' -fuzz "^$${f##*:}$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 2s || exit 1; \
	done

bench: bench-limits bench-append bench-converge bench-join bench-heal bench-latency bench-deliver bench-topics bench-process bench-parts ## all benchmarks; one alone: make bench-append …

bench-limits bench-append bench-converge bench-join bench-heal bench-latency bench-deliver bench-topics: bench-%:
	go run ./e2e/bench -runs $(RUNS) $*

bench-process: ## pub --lines of 10,000 (goal 1.0 s), and a fresh process joining them (goal 0.6 s)
	go test -tags process -run '^$$' -bench Process -benchtime $(RUNS)x ./e2e

bench-long: ## every work at three sizes: append and join up to 1,000,000 events, 100,000 topics
	go run ./e2e/bench -runs 1 growth

bench-parts:
	go test -run '^$$' -bench . -benchtime 1s ./types ./trie ./store/... ./crdt/... ./syncer/... ./broadcaster/... ./delivery

bench-peer: ## the same work on Cairn and on go-ds-crdt, beside each other; above an hour
	cd bench && go run .

mutants: ## make each mistake of mutants/ and see that a test catches it; about 20 minutes on two busy cores
	go run ./mutants -write docs/mutants.md

generate: ## the protobuf code; needs protoc, protoc-gen-go and protoc-gen-connect-go
	go generate ./...
