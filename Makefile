# weir: see `make help`.
GO      ?= go
TOOLS   := $(GO) tool -modfile=proto/tools.mod
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -X github.com/weirbuild/weir/cli.Version=$(VERSION)
TESTFLAGS ?= -timeout 9m

.PHONY: help build demo test race check lint fmt proto proto-check examples bench selftest engines base-image deps clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## bin/weir, the whole product
	@$(GO) build -ldflags '$(LDFLAGS)' -o bin/weir ./cli/weir

demo: deps build ## three nodes, two workers, a build, and the leader's death
	@bin/weir dev

test: deps engines ## all tests
	$(GO) test $(TESTFLAGS) ./...

race: deps engines ## all tests under the race detector
	$(GO) test -race $(TESTFLAGS) ./...

check: deps build lint proto-check examples ## format, vet, linters, generated code, examples

lint: ## gofmt, vet, staticcheck, errcheck
	@out=$$(gofmt -l $$(git ls-files '*.go' 2>/dev/null || find . -name '*.go')); test -z "$$out" || { echo "not gofmt-clean:"; echo "$$out"; exit 1; }
	$(GO) vet ./...
	$(TOOLS) staticcheck ./...
	$(TOOLS) errcheck -ignoretests -exclude .errcheck ./...

fmt: ## format the code
	gofmt -w $$(git ls-files '*.go')

proto: ## generate Go from the .proto files, with pinned tools
	cd proto && $(GO) tool -modfile=tools.mod buf lint && $(GO) tool -modfile=tools.mod buf generate && \
	  $(GO) tool -modfile=tools.mod buf generate --template buf.gen.fast.yaml --path weir/v1/command.proto --path weir/v1/job.proto

proto-check: ## fail when the generated code is stale
	@tmp=$$(mktemp -d) && cp -r proto/pb $$tmp/was && $(MAKE) -s proto && \
	  { diff -r $$tmp/was proto/pb >/dev/null || { rm -rf $$tmp; echo "proto/pb was stale: commit what 'make proto' made"; exit 1; }; }; rm -rf $$tmp

examples: build ## run everything under examples/
	@for d in examples/*/; do echo "== $$d"; $(MAKE) -s -C $$d WEIR=$(CURDIR)/bin/weir check || exit 1; done

bench: build ## measure everything against its limit; takes some minutes
	@bin/weir bench
	@$(GO) test -run '^$$' -bench . -benchtime 20x ./workerd/obuilder

engines: ## get BuildKit and Docker for tests that run as root; some minutes, once
	@.ci/engines

selftest: deps engines base-image ## let weir build weir, on Debian; some minutes
	WEIR_SELFTEST=1 $(GO) test -count=1 -timeout 30m ./cli/selftest

base-image: ## make the Debian image on which weir builds itself; a minute or two, once
	@.ci/base-image >/dev/null

deps: ## install what tests and demo need besides Go: git, iproute2, iptables, runc, busybox
	@.ci/deps

clean: ## remove what was built
	rm -rf bin
