# Every gate is a recipe here; CI calls the same ones.
SHELL := bash
.DEFAULT_GOAL := help
CARGO ?= cargo
# A failed test says what failed; a backtrace through the test runner under it helps nobody.
export RUST_LIB_BACKTRACE ?= 0

.PHONY: help demo test test-long check parts bench bench-law bench-law-full fmt build

help: ## list the recipes
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

build: ## build the tidegate binary (debug profile: what demo and test run)
	$(CARGO) build --locked -p tidegate

demo: build ## the main job on embedded defaults: devices, lag, consumers, and back
	$${CARGO_TARGET_DIR:-target}/debug/tidegate up --burst burst --once --listen 127.0.0.1:0

parts: ## fetch the real servers that the tests use into a cache outside the checkout
	tools/parts

# The real-parts tests start the binary that `build` made.
test: parts build ## every test, real parts included
	$(CARGO) test --locked --workspace --no-fail-fast

test-long: ## many more seeds of the scaling rule's steadiness (two minutes)
	$(CARGO) test --locked --release -p tidegate-core -- --ignored thousands

check: ## the fast inner gate: format, lints, docs, layering
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps --document-private-items
	$(CARGO) test --locked -p tidegate-tests --test tidy

bench: parts ## CPU per message of the gateway beside a bare loop; prints ratios of one run
	$(CARGO) build --locked --release -p tidegate -p tidegate-bench
	tools/with-kafka $${CARGO_TARGET_DIR:-target}/release/tidegate-bench floor

bench-law: ## what the scaling rule is worth: traces and corner settings beside KEDA and the HPA; writes docs/benchmarks-law.md
	$(CARGO) build --locked --release -p tidegate-bench-law
	$${CARGO_TARGET_DIR:-target}/release/tidegate-bench-law --date $$(date +%F)

bench-law-full: ## the same with every setting and five seeds; goes on where it was stopped; writes docs/benchmarks-law-full.md
	$(CARGO) build --locked --release -p tidegate-bench-law
	$${CARGO_TARGET_DIR:-target}/release/tidegate-bench-law --full --date $$(date +%F) --store $${CARGO_TARGET_DIR:-target}/bench-law-full.jsonl

fmt: ## format everything
	$(CARGO) fmt --all
