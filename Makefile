.DEFAULT_GOAL := help
.PHONY: help build test race lint bits fuzz bench bench-checkpoints bench-models figures kafka-test ci image

FUZZTIME ?= 1m
VERSION  ?= $(shell git describe --tags --always --dirty)
REVISION ?= $(shell git rev-parse HEAD)
IMAGE    ?= learner:$(VERSION)

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

fuzz: ## Run every fuzz target for FUZZTIME (1m).
	.ci/fuzz $(FUZZTIME)

bench: ## Replay records from the embedded broker and print records per second.
	go run ./internal/bench

bench-checkpoints: ## Measure what checkpoints cost, and how soon a restart learns.
	go run ./internal/bench -checkpoints -compression none -records 3000000

bench-models: ## Measure what a record costs each kind of model, and what more cores bring.
	go test -run '^$$' -bench 'Cost|Cores' -benchtime 300x ./pkg/sgd | tr '\t' '\n'

figures: ## Measure the models of the README's table of figures and write them into it.
	.ci/figures

kafka-test: ## Run the tests that can use a real Apache Kafka on one that is started for them.
	.ci/kafka-test

ci: ## Run all that must hold before a change is taken.
	.ci/run

image: ## Build the container image IMAGE.
	docker build --build-arg VERSION=$(VERSION) --build-arg REVISION=$(REVISION) -t $(IMAGE) .
