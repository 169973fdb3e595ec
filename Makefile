# Every gate is a recipe here; CI calls the same ones.
SHELL := bash
.DEFAULT_GOAL := help
CARGO ?= cargo
# A failed test says what failed; a backtrace through the test runner under it helps nobody.
export RUST_LIB_BACKTRACE ?= 0

.PHONY: help demo test test-long check parts bench bench-scale bench-spool bench-law bench-law-full mutants generate fmt build image cluster-up cluster-down

help: ## list the recipes
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-17s %s\n", $$1, $$2}'

build: ## build the tidegate binary (debug profile: what demo and test run)
	$(CARGO) build --locked -p tidegate

demo: build ## the main job on embedded defaults: devices, lag, consumers, and back
	$${CARGO_TARGET_DIR:-target}/debug/tidegate up --burst burst --once --listen 127.0.0.1:0

parts: ## fetch the real servers that the tests use into a cache outside the checkout
	tools/parts

cluster-up: ## a real one-node Kubernetes on this machine (as root); prints how to use it
	tools/parts kubernetes node
	tools/cluster up

cluster-down: ## stop it and forget everything in it
	tools/cluster down

image: ## the container image of the release binary, as an archive; needs no container engine and no registry
	tools/parts image-tools
	$(CARGO) build --locked --release -p tidegate --no-default-features
	tools/image --name tidegate.dev/tidegate:dev --output $${CARGO_TARGET_DIR:-target}/tidegate-image.tar \
		$${CARGO_TARGET_DIR:-target}/release/tidegate

# What is missing is said before the first minute is spent. The real-parts tests start the binary that is built here; they
# wait more than they compute, so that one more of them runs than there are cores.
test: ## every test, real parts included
	tools/preflight
	[ "$$TIDEGATE_SKIP_PARTS" = 1 ] || tools/parts
	$(CARGO) build --locked -p tidegate
	RUST_TEST_THREADS=$$(( $$(nproc) + 1 )) $(CARGO) test --locked --workspace --no-fail-fast

test-long: test-long-scaling test-long-power test-long-hour test-long-loss ## many more seeds: steadiness of the scaling rule, power cuts, losses

.PHONY: test-long-scaling test-long-power
test-long-scaling: ## 2 560 sites of constant load (two minutes)
	$(CARGO) test --locked --release -p tidegate-core -- --ignored thousands

# Goes on where it was stopped; remove the state file to begin anew.
test-long-power: ## 200 power cuts (root; five minutes on a quiet machine; resumes)
	state=$${CARGO_TARGET_DIR:-$(CURDIR)/target}/power-cuts && mkdir -p $$(dirname $$state) && \
	TIDEGATE_POWER_CUTS=200 TIDEGATE_POWER_CUT_STATE=$$state $(CARGO) test --locked -p tidegate-spool --test loop_disk && rm -f $$state

.PHONY: test-long-hour
test-long-hour: ## an hour of 100 messages a second without Kafka, through the spool (four minutes)
	tools/parts kafka
	$(CARGO) build --locked -p tidegate
	HOUR_MESSAGES_PER_SEC=100 $(CARGO) test --locked -p tidegate-tests --test real -- loss::hour::

# One target a fault: test-long-loss-kafka-killed and so on. Each goes on where it was stopped: a line for each seed is in
# target/loss/FAULT, and in target/loss/FAULT.last once all have passed. LOSS_SEEDS=7-7 repeats one.
LOSS := all-together broker-away disk-down disk-full distant-kafka gateway-killed kafka-frozen kafka-killed leader-change network-cut produce-errors rolling-restart stop-while-behind topic-made-anew
LOSS_SEEDS ?= 1-20

.PHONY: test-long-loss $(LOSS:%=test-long-loss-%)
test-long-loss: ## 20 seeds of every fault against real gateways and Kafka (three hours; root; resumes)
	failed=; for fault in $(LOSS); do $(MAKE) --no-print-directory test-long-loss-$$fault || failed="$$failed $$fault"; done; \
	[ -z "$$failed" ] || { echo "failed:$$failed"; exit 1; }

$(LOSS:%=test-long-loss-%): test-long-loss-%:
	tools/parts kafka
	$(CARGO) build --locked -p tidegate
	state=$${CARGO_TARGET_DIR:-$(CURDIR)/target}/loss && \
	LOSS_SEEDS=$(LOSS_SEEDS) LOSS_STATE=$$state \
	$(CARGO) test --locked -p tidegate-tests --test real -- loss::$(subst -,_,$*):: && \
	if [ -e $$state/$* ]; then mv $$state/$* $$state/$*.last && cat $$state/$*.last; fi

mutants: ## break spool, delivery and gateway line by line, and expect their tests to notice (half an hour)
	tools/mutants

check: ## the fast inner gate: format, lints, docs, layering
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps --document-private-items
	$(CARGO) test --locked -p tidegate-tests --test tidy
	tools/mutants --check

bench: ## CPU per message of the gateway beside a bare loop; prints ratios of one run
	tools/parts kafka
	$(CARGO) build --locked --release -p tidegate -p tidegate-bench
	tools/with-kafka $${CARGO_TARGET_DIR:-target}/release/tidegate-bench floor

# In a run of its own: a measurement shares the machine with nobody.
bench-scale: ## from a burst to the first write to /scale on a real node, 2 x 20 bursts; prints two tables (3/4 h)
	tools/parts
	$(CARGO) build --locked -p tidegate
	$(CARGO) test --locked -p tidegate-tests --test real -- --ignored --nocapture controller::first_write

generate: build ## write anew what is made from the code: the definition of IngestScaler
	$${CARGO_TARGET_DIR:-target}/debug/tidegate crd > charts/manifests/crd.yaml

bench-spool: ## the spool's share of the disk's bandwidth, and how fast recovery scans
	$(CARGO) bench --locked -p tidegate-spool --bench disk

bench-law: ## what the scaling rule is worth: traces and corner settings beside KEDA and the HPA; writes docs/benchmarks-law.md
	$(CARGO) build --locked --release -p tidegate-bench-law
	$${CARGO_TARGET_DIR:-target}/release/tidegate-bench-law --date $$(date +%F)

bench-law-full: ## the same with every setting and five seeds; goes on where it was stopped; writes docs/benchmarks-law-full.md
	$(CARGO) build --locked --release -p tidegate-bench-law
	$${CARGO_TARGET_DIR:-target}/release/tidegate-bench-law --full --date $$(date +%F) --store $${CARGO_TARGET_DIR:-target}/bench-law-full.jsonl

fmt: ## format everything
	$(CARGO) fmt --all
