# Each target does all its own set-up; nothing is downloaded but from the package registries.
#
#   make setup          installs what building needs, where it is missing
#   make build          builds the firetower binary
#   make demo           shows a whole tree on this machine; ARGS='--for 60s' ends by itself
#   make test           runs every test, those with real processes too
#   make fuzz           runs each fuzz target for SECONDS=60; needs the nightly toolchain
#   make soak           runs 20,000 simulations; SEEDS=N and SEED=first say others
#   make chaos          breaks a running tree FAULTS=100 times, as SEED=n says, and checks that nothing is lost; takes root
#   make planted        shows that the simulation finds planted bugs; ARGS='name' takes one
#   make check          tests, format, lints, docs, dependencies: what a change must pass
#   make conformance    runs peers' own cases from the folder CONFORMANCE
#   make bench          measures; ARGS='peers' says what, see benches/README.md

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := build

CARGO ?= cargo
CARGO_TARGET_DIR ?= $(CURDIR)/target
export CARGO_TARGET_DIR

# One profile for all, and the whole workspace each time, so that RocksDB is built once.
FLAGS := --release --locked --workspace
BINARIES := $(CARGO_TARGET_DIR)/release

.PHONY: setup build demo test fuzz soak chaos planted conformance check format clippy docs deny bench

setup:
	.ci/setup build

build: setup
	$(CARGO) build $(FLAGS) --bins

demo: build
	.ci/setup demo
	$(BINARIES)/firetower demo $(ARGS)

# The binaries first: the tests with real processes start them.
test: build
	.ci/setup test
	$(CARGO) test $(FLAGS) --no-fail-fast $(ARGS)

# What is found stays in fuzz/artifacts, and the way there beside the build; `fuzz/run TARGET` runs one.
fuzz: build
	SECONDS_EACH='$(or $(SECONDS),60)' fuzz/run $(ARGS)

soak: setup
	SEED=$${SEED:-1} SEEDS=$${SEEDS:-20000} $(CARGO) test $(FLAGS) --test simulation

# Without a SEED it takes a new one, and says which.
chaos: build
	.ci/setup test
	FAULTS=$${FAULTS:-100} $(CARGO) test $(FLAGS) --test chaos

planted: setup
	.ci/setup test
	tests/planted/run $(ARGS)

# What PromQL here refuses, and names that are dropped at the very end, which Prometheus does not do by default.
PROMQL_REFUSED := native_histograms,start_timestamps,extended_range_selectors,duration_expressions,fill_modifiers,type_and_unit_labels,delayed_name_removal

# Nothing of the folder is copied; a judged case that fails, fails the target.
conformance: build
	.ci/setup conformance
	if [[ ! -d '$(CONFORMANCE)/exposition/cases' || ! -d '$(CONFORMANCE)/promql/cases' ]]; then \
	    echo 'conformance: CONFORMANCE must name a folder with exposition/cases and promql/cases' >&2; exit 2; fi
	python3 '$(CONFORMANCE)/exposition/run.py' cli '$(CONFORMANCE)/exposition/cases' -v \
	    --cli '$(abspath $(BINARIES))/firetower check metrics --format {format}'
	python3 '$(CONFORMANCE)/exposition/run.py' scrape '$(CONFORMANCE)/exposition/cases' -v --server-cmd \
	    '$(abspath $(BINARIES))/firetower secondary --standalone --scrape-config {config} --data {data} --http 127.0.0.1:{port}'
	CONFORMANCE='$(abspath $(CONFORMANCE))' $(CARGO) test $(FLAGS) --test conformance
	python3 '$(CONFORMANCE)/promql/run.py' '$(CONFORMANCE)/promql/cases' -v --skip $(PROMQL_REFUSED) --server-cmd \
	    '$(abspath $(BINARIES))/firetower secondary --standalone --http 127.0.0.1:{port} --data {data}/d --retention raw=100y'
	python3 '$(CONFORMANCE)/promql/diff.py' '$(CONFORMANCE)/promql/queries.jsonl' -v --reference-cmd \
	    'prometheus --config.file=/dev/null --storage.tsdb.path={data} --web.listen-address=127.0.0.1:{port} --web.enable-remote-write-receiver' \
	    --server-cmd '$(abspath $(BINARIES))/firetower secondary --standalone --http 127.0.0.1:{port} --data {data}/d'

check: test format clippy docs deny

format:
	$(CARGO) fmt --all --check

clippy: setup
	$(CARGO) clippy $(FLAGS) --all-targets -- -D warnings

docs: setup
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc $(FLAGS) --no-deps

# Advisories need a database from outside; licences and bans do not.
deny:
	if $(CARGO) deny --version >/dev/null 2>&1; then $(CARGO) deny --offline check bans licenses sources; \
	else echo 'cargo-deny is not installed: licences and bans are not checked'; fi

bench: build
	.ci/setup bench
	$(BINARIES)/compare $(ARGS)
