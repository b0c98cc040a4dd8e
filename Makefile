.DEFAULT_GOAL := help
.PHONY: help build test race lint bits dashboard fuzz bench bench-kafka bench-checkpoints bench-predict bench-models pgo figures kafka-test ci image

FUZZTIME ?= 1m
VERSION  ?= $(shell git describe --tags --always --dirty)
REVISION ?= $(shell git rev-parse HEAD)
IMAGE    ?= learner:$(VERSION)
PYTHON   ?= python3
PROFILE  := cmd/learner/default.pgo
# The benchmark, built with the profile that the service is built with.
BENCH    := go run -pgo=$(or $(wildcard $(PROFILE)),off) ./internal/bench

help: ## Print this list.
	@sed -nE 's/^([a-z-]+):.*## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 12

build: ## Build ./learner, static.
	CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=$(VERSION) -X main.revision=$(REVISION)" ./cmd/learner

test: ## Run the tests.
	go test ./...

race: ## Run the tests with the race detector.
	go test -race ./...

lint: ## Run golangci-lint, installed at the pinned version if it is missing, and shellcheck.
	.ci/lint

bits: ## Check that models have the same bits with and without fused multiply-add, and on arm64.
	.ci/bits

dashboard: ## Check the rules and ask a real Prometheus every query of the dashboard.
	.ci/dashboard

fuzz: ## Run every fuzz target for FUZZTIME (1m).
	.ci/fuzz $(FUZZTIME)

bench: ## Measure speed beside other clients and write the table to bench.out; PYTHON may have Vowpal Wabbit.
	$(BENCH) -python $(PYTHON) -o bench.out

bench-kafka: ## The same on a real Apache Kafka that is started for it, to bench-kafka.out.
	.ci/bench-kafka $(BENCH) -python $(PYTHON) -o bench-kafka.out

bench-checkpoints: ## Measure what checkpoints cost, and how soon a restart learns.
	$(BENCH) -checkpoints -records 3000000

bench-predict: ## Measure how soon predictions are answered during a replay, and what they cost it.
	$(BENCH) -predict -records 1500000

bench-models: ## Measure what a record costs each kind of model, and what more cores bring.
	go test -run '^$$' -bench 'Cost|Cores' -benchtime 300x ./pkg/sgd | tr '\t' '\n'

pgo: ## Renew the profile that the compiler optimises the service by.
	dir=$$(mktemp -d) && trap 'rm -rf "$$dir"' EXIT && \
	go run -pgo=off ./internal/bench -cpuprofile "$$dir" && go tool pprof -proto "$$dir"/*.prof > "$$dir/all" && cp "$$dir/all" $(PROFILE)

figures: ## Measure the models of the README's table of figures and write them into it.
	.ci/figures

kafka-test: ## Run the tests that can use a real Apache Kafka on one that is started for them.
	.ci/kafka-test

.PHONY: deploy-check
deploy-check: ## Check the compose files, the Kubernetes manifests, the Helm chart, and the Dockerfile.
	.ci/deploy

ci: ## Run all that must hold before a change is taken.
	.ci/run

image: ## Build the container image IMAGE.
	docker build --build-arg VERSION=$(VERSION) --build-arg REVISION=$(REVISION) -t $(IMAGE) .
