# `make help` lists the targets. Everything that is needed beyond Go is built
# from pinned versions (tools/, e2e/tools/) or installed by
# scripts/install-deps.sh.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := build

# NODES, SIZE, NODE_RATE and ORIGIN_RATE shape the demo and the swarm
# benchmark; without them the programs' own defaults hold.
SHAPE = $(if $(NODES),-nodes $(NODES)) $(if $(SIZE),-size $(SIZE))
RATES = $(if $(NODE_RATE),-node-rate $(NODE_RATE)) $(if $(ORIGIN_RATE),-origin-rate $(ORIGIN_RATE))
# How long each fuzz target runs in `make fuzz`.
FUZZTIME ?= 10s
# The faults of `make test`, the same each time: a change is not to be blamed for what
# chance drew. `make e2e-faults` draws others, each night for an hour (faults.yaml).
TEST_SEED = 722
# The layer whose passage must not show in a daemon's memory, in `make bench`.
FLAT ?= 4GiB

ROOT := $(shell [ "$$(id -u)" = 0 ] && echo yes)
# The unit tiers: everything but the end-to-end tier.
UNIT = $$(go list ./... | grep -v '/e2e')
# -buildvcs stamps the version that --version and p2pd_build_info tell.
GOBUILD := CGO_ENABLED=0 go build -trimpath -buildvcs=auto

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## build the binaries into bin/
	$(GOBUILD) -o bin/ ./cmd/...

.PHONY: test
test: test-unit test-page test-e2e ## all tests; those that need root are named when skipped

.PHONY: test-unit
test-unit:
	@scripts/install-deps.sh gcc
	go test -race -timeout 15m $(UNIT) ./e2e/lab/...
	go test -tags p2pd_faults -run Faults ./internal/daemon ./internal/store

# Ubuntu has Chromium as a snap only, which needs a running snapd.
.PHONY: test-page
ifeq ($(ROOT)$(shell . /etc/os-release 2>/dev/null; echo $$ID),yesdebian)
test-page: ## the live page in Chromium (root on Debian)
	@scripts/install-deps.sh chromium npm tmux
	axe=$$(e2e/axe/fetch.sh) || { axe=none; echo "NOT PART OF THIS: axe-core, which could not be fetched; the rest of the page's tests run" >&2; }; \
	P2PD_BROWSER=1 P2PD_AXE=$$axe go test -count=1 -timeout 5m -run 'Page' ./cmd/p2pctl
else
test-page:
	@echo "SKIPPED: the live page in Chromium: root on Debian installs it; elsewhere install chromium, npm and tmux, and run 'P2PD_BROWSER=1 P2PD_AXE=\$$(e2e/axe/fetch.sh) go test -run Page ./cmd/p2pctl'"
endif

.PHONY: test-e2e
ifeq ($(ROOT),yes)
test-e2e: e2e
	$(MAKE) e2e-faults SEED=$(or $(SEED),$(TEST_SEED))
else
test-e2e:
	@echo "SKIPPED: the end-to-end tier (./e2e/...) and the namespaces of its lab: they need root for network namespaces and containerd; run 'sudo make e2e'"
endif

.PHONY: e2e
e2e: e2e-deps e2e-packages-deps ## real containerd, real registry, network namespaces (root)
	@echo "NOT PART OF THIS: skopeo, Podman and Docker (much to install); run 'sudo make e2e-clients'"
	@echo "NOT PART OF THIS: packages of the other architecture (all is built once more); run 'sudo make e2e-packages'"
	@e2e/build-previous.sh >/dev/null || { [ $$? = 3 ] && echo "NOT PART OF THIS: this version together with the one before (TestTwoVersionsWorkTogether)"; }
	P2PD_E2E=1 go test -count=1 -timeout 40m -parallel 5 $$(go list ./e2e/... | grep -v /e2e/packages) # 5: the containerds of TestContract
	P2PD_E2E=1 go test -count=1 -timeout 30m ./e2e/packages # by itself: others measure

.PHONY: e2e-packages-deps
e2e-packages-deps:
	@[ "$(ROOT)" = yes ] || { echo "this needs root: it boots a machine with systemd" >&2; exit 1; }
	@scripts/install-deps.sh debootstrap systemd-nspawn rpm groff

.PHONY: e2e-packages
e2e-packages: e2e-packages-deps ## deb and rpm packages installed, upgraded and removed, with a real systemd, and looked into for the other architecture (root)
	@scripts/install-deps.sh qemu-aarch64 qemu-x86_64
	P2PD_E2E=1 P2PD_E2E_FOREIGN=1 go test -count=1 -timeout 30m -v ./e2e/packages

.PHONY: e2e-newcomer
e2e-newcomer: ## the README's first two commands on a clean Debian with git, make and Go: all is downloaded and built (root, an hour)
	@scripts/install-deps.sh debootstrap
	P2PD_E2E_NEWCOMER=1 go test -count=1 -timeout 250m -v -run '^TestNewcomer' ./e2e/packages

.PHONY: e2e-contract
e2e-contract: e2e-deps ## the table of docs/containerd.md: every containerd pulls through every fault (root)
	P2PD_E2E=1 go test -count=1 -timeout 40m -v -run '^TestContract$$' ./e2e

.PHONY: e2e-faults
e2e-faults: e2e-deps ## a cluster under a schedule of faults: SEED repeats one, DURATION=1h lasts longer (root)
	P2PD_E2E_FAULTS=1 SEED=$(SEED) DURATION=$(DURATION) go test -count=1 -timeout 0 -v -run '^TestFaults$$' ./e2e/faults

.PHONY: soak
soak: e2e-deps ## a cluster that pulls for DURATION (30m): memory, files and goroutines stay flat (root)
	P2PD_E2E_SOAK=1 SEED=$(SEED) DURATION=$(DURATION) go test -count=1 -timeout 0 -v -run '^TestSoak$$' ./e2e/faults

.PHONY: e2e-clients
e2e-clients: e2e-deps ## skopeo, Podman and Docker pull through what p2pd setup wrote (root)
	@scripts/install-deps.sh skopeo podman dockerd
	P2PD_E2E=1 P2PD_E2E_CLIENTS=1 go test -count=1 -timeout 10m -v -run '^TestClients$$' ./e2e

.PHONY: e2e-deps
e2e-deps:
	@[ "$(ROOT)" = yes ] || { echo "this needs root: it makes network namespaces and runs containerd" >&2; exit 1; }
	@scripts/install-deps.sh
	@for module in tools containerd17 cripull; do e2e/build-tools.sh "$$module" >/dev/null; done

.PHONY: e2e-k8s
e2e-k8s: e2e-deps ## the Helm chart on a real Kubernetes cluster of four nodes (root; a first build takes many minutes)
	@scripts/install-deps.sh iptables /usr/lib/cni/bridge openssl nginx
	@for module in k8s coredns helm policies; do e2e/build-tools.sh "$$module" >/dev/null; done
	P2PD_E2E_K8S=1 go test -count=1 -timeout 30m -v ./e2e/kube

.PHONY: demo
demo: $(if $(ROOT),e2e-deps) ## NODES pull one image of SIZE at once; as root containerds in network namespaces, else processes
	go run ./e2e/cmd/demo $(SHAPE) $(RATES)

.PHONY: bench
bench: bench-packages bench-sim bench-scheduler bench-node bench-peer bench-harm bench-swarm bench-flat ## all benchmarks: the packages', the simulator's, the scheduler's, a node's, a pair's, the swarm's, memory over a layer of FLAT (root)

.PHONY: bench-packages
bench-packages: ## the packages' own benchmarks
	go test -run '^$$' -bench . -benchmem $(UNIT)

.PHONY: bench-swarm
bench-swarm: e2e-deps ## NODES at NODE_RATE and an origin at ORIGIN_RATE: one image of SIZE against the bound (root)
	go run ./e2e/cmd/bench-swarm $(SHAPE) $(RATES)

.PHONY: bench-node
bench-node: e2e-deps ## one node's pulls through p2pd against direct ones, and its store against nginx (root)
	@scripts/install-deps.sh nginx
	go run ./e2e/cmd/bench-node

.PHONY: bench-peer
bench-peer: e2e-deps ## from one p2pd to another on an unshaped line, against bare crypto/tls and sendfile (root)
	go run ./e2e/cmd/bench-peer

.PHONY: bench-harm
bench-harm: e2e-deps ## how much later a pull ends when all that is peer to peer is broken (root)
	go run ./e2e/cmd/bench-harm

.PHONY: bench-sim
bench-sim: sim
	go run ./e2e/cmd/sim -nodes 10000 -scenarios flash
	go run ./e2e/cmd/sim -scenarios small -prefetch

.PHONY: bench-scheduler
bench-scheduler: ## a scheduler that PEERS join at once, on loopback
	go run ./e2e/cmd/bench-scheduler $(if $(PEERS),-peers $(PEERS))

.PHONY: sim
sim: ## whole clusters in virtual time: NODES pull an image of SIZE; SCENARIOS and SEED choose
	go run ./e2e/cmd/sim $(SHAPE) $(if $(SCENARIOS),-scenarios $(SCENARIOS)) $(if $(SEED),-seed $(SEED))

.PHONY: bench-flat
bench-flat: e2e-deps
	go run ./e2e/cmd/bench-swarm -flat $(FLAT)

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME
	@grep -rHoE '^func Fuzz[A-Za-z0-9_]+' --include='*_test.go' pkg internal | sed 's/func //' | \
	while IFS=: read -r file target; do \
	  echo "$$target ($$file)"; \
	  go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 2s "./$$(dirname "$$file")"; \
	done

.PHONY: check
check: check-format check-vet check-arch lint check-tidy check-generated check-chart check-monitoring check-workflows ## what must hold before a commit, but for the tests

.PHONY: check-format
check-format:
	@bad=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$bad" ] || { echo "not formatted by gofmt:"; echo "$$bad"; exit 1; }

.PHONY: check-vet
check-vet:
	go vet ./...
	go vet -tags p2pd_faults ./...

.PHONY: check-arch
check-arch:
	go test -count=1 .

.PHONY: lint
lint: ## golangci-lint, with .golangci.yaml
	@tools=$$(tools/build.sh); "$$tools/golangci-lint" run ./...

.PHONY: check-tidy
check-tidy:
	@for module in . tools tools/packages tools/workflows e2e/tools e2e/containerd17 e2e/cripull e2e/conformance e2e/helm e2e/chart e2e/k8s e2e/coredns e2e/policies e2e/prometheus; do \
	  (cd "$$module" && go mod tidy -diff) || { echo "$$module/go.mod: run 'go mod tidy' there" >&2; exit 1; }; \
	done

# Generates beside the tree and compares, so that a check changes nothing.
.PHONY: check-generated
check-generated:
	@tools=$$(tools/build.sh); PATH="$$tools:$$PATH"; \
	out=$$(mktemp -d); trap 'rm -rf "$$out"' EXIT; \
	buf lint; \
	buf generate --output "$$out"; \
	for f in $$(git ls-files '*.pb.go'); do \
	  diff -u "$$f" "$$out/$$f" || { echo "$$f is not what 'make generate' makes of proto/" >&2; exit 1; }; \
	done

.PHONY: check-chart
check-chart: ## helm's lint, a matrix of values, and values that must be refused
	@PATH="$$(e2e/build-tools.sh helm):$$(e2e/build-tools.sh chart):$$PATH" scripts/check-chart.sh
	cd e2e/chart && go vet ./... && go test ./...

.PHONY: check-monitoring
check-monitoring: ## alert rules and dashboards: promtool's tests, and whether every metric is there
	P2PD_PROMTOOL=$$(e2e/build-tools.sh prometheus)/promtool go test -count=1 ./deploy/monitoring

.PHONY: check-workflows
check-workflows:
	@"$$(tools/build.sh workflows)/actionlint" .github/workflows/*.yaml

.PHONY: generate
generate: ## write generated code anew from proto/, and what is generated of the chart and of the references
	@tools=$$(tools/build.sh); PATH="$$tools:$$PATH" buf generate
	go generate ./cmd/...
	go test -count=1 ./deploy -update

.PHONY: images
images: ## build the container images and push them: REGISTRY=HOST/PATH TAG=...
	@[ -n "$(REGISTRY)" ] || { echo "say where to: make images REGISTRY=registry.example/p2pd TAG=0.1.0" >&2; exit 2; }
	go run ./deploy/images -repository "$(REGISTRY)" -tag "$(or $(TAG),0.1.0)" $(if $(PLAIN_HTTP),-plain-http)

.PHONY: packages
packages: ## deb and rpm packages into bin/packages: VERSION=0.1.0
	go run ./deploy/packages -version "$(or $(VERSION),0.1.0)"

.PHONY: snapshot
snapshot: ## all that a release is made of, into dist/ and bin/packages, published nowhere (builds goreleaser first, many minutes)
	rm -rf bin/packages
	PATH="$$(tools/build.sh release):$$PATH" goreleaser release --snapshot --clean --skip=publish
	scripts/check-snapshot.sh

.PHONY: clean
clean: ## remove bin/ and the tests' caches; the built tools stay
	rm -rf bin dist
	go clean -testcache -fuzzcache
