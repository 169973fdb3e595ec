# Every gate is a recipe here; CI calls the same ones.
SHELL := bash
.DEFAULT_GOAL := help
CARGO ?= cargo
# A failed test says what failed; a backtrace through the test runner under it helps nobody.
export RUST_LIB_BACKTRACE ?= 0

.PHONY: help demo test test-long check parts bench bench-spool mutants fmt build

help: ## list the recipes
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-17s %s\n", $$1, $$2}'

build: ## build the tidegate binary (debug profile: what demo and test run)
	$(CARGO) build --locked -p tidegate

demo: build ## the main job on embedded defaults: devices, lag, consumers, and back
	$${CARGO_TARGET_DIR:-target}/debug/tidegate up --burst burst --once --listen 127.0.0.1:0

parts: ## fetch the real servers that the tests use into a cache outside the checkout
	tools/parts

# The real-parts tests start the binary that `build` made.
test: parts build ## every test, real parts included
	$(CARGO) test --locked --workspace --no-fail-fast

test-long: test-long-scaling test-long-power ## many more seeds: steadiness of the scaling rule, power cuts under the spool

.PHONY: test-long-scaling test-long-power
test-long-scaling: ## 2 560 sites of constant load (two minutes)
	$(CARGO) test --locked --release -p tidegate-core -- --ignored thousands

# Goes on where it was stopped; remove the state file to begin anew.
test-long-power: ## 200 power cuts (root; five minutes on a quiet machine; resumes)
	state=$${CARGO_TARGET_DIR:-$(CURDIR)/target}/power-cuts && mkdir -p $$(dirname $$state) && \
	TIDEGATE_POWER_CUTS=200 TIDEGATE_POWER_CUT_STATE=$$state $(CARGO) test --locked -p tidegate-spool --test loop_disk && rm -f $$state

mutants: ## break the spool line by line, and expect its tests to notice (ten minutes)
	tools/mutants

check: ## the fast inner gate: format, lints, docs, layering
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps --document-private-items
	$(CARGO) test --locked -p tidegate-tests --test tidy

bench: parts ## CPU per message of the gateway beside a bare loop; prints ratios of one run
	$(CARGO) build --locked --release -p tidegate -p tidegate-bench
	tools/with-kafka $${CARGO_TARGET_DIR:-target}/release/tidegate-bench floor

bench-spool: ## the spool's share of the disk's bandwidth, and how fast recovery scans
	$(CARGO) bench --locked -p tidegate-spool --bench disk

fmt: ## format everything
	$(CARGO) fmt --all
