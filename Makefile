# The menu. What is up to date and what must run, `iota` decides; make only calls it.
#
#   make                     build everything a run needs, run RECIPE, print its table
#   make sft RECIPE=tiny     one stage and what it reads
#   make plan ARGS=--json    ARGS go to iota as they are

RECIPE ?= mini
ARGS   ?=
# The interpreter of `make test-interop`; one that has torch, transformers and peft.
PYTHON ?= python3

# One profile builds the product and the tests.
TARGET  := $(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR),target)
IOTA    := $(TARGET)/release/iota
# A recipe is a name or the path of a file; its results lie under its name.
REFS    := $(or $(IOTA_ARTIFACTS),artifacts)/refs/$(basename $(notdir $(RECIPE)))
# cargo may have been installed a moment ago, by `make setup`.
export PATH := $(PATH):$(HOME)/.cargo/bin

STAGES  := contest ingest dump verify decontaminate split tokenizer mix triplets \
           init adapt sft reward dpo orpo ppo sample judge attempts report
LOOKS   := plan status graph
# Looked up only when tests are run.
TEST     = $(shell cargo nextest --version >/dev/null 2>&1 && echo nextest run || echo test) --release --tests

.DEFAULT_GOAL := all
.PHONY: all setup build gpu run inspect doctor test test-device test-interop lint bench bench-judge help $(STAGES) $(LOOKS)

all: setup run ## Set up, build, run RECIPE and print its table (the default)

setup: ## Install what the machine lacks, or say how
	@scripts/setup

build: setup ## Build iota (release, without the polars part)
	@cargo build --release

gpu: setup ## Build iota with its CUDA and NCCL part (needs neither; runs without them, too)
	@cargo build --release --features nccl

run: build ## Run RECIPE to its report and print the table
	@$(IOTA) run --recipe $(RECIPE) $(ARGS)
	@test ! -f $(REFS)/report/table.md || cat $(REFS)/report/table.md

# One target a stage; each runs what it needs and nothing that is up to date.
$(STAGES): build
	@$(IOTA) run $@ --recipe $(RECIPE) $(ARGS)

$(LOOKS): build
	@$(IOTA) $@ --recipe $(RECIPE) $(ARGS)

doctor: build ## Say what this machine offers and what is missing
	@$(IOTA) doctor

inspect: setup ## Build iota-inspect (polars; `iota sql` and statistics in `iota show`)
	@cargo build --release -p iota-inspect

# Two selections of packages, never --workspace: polars wants other features of serde and a
# dozen small crates, and cargo would compile arrow, candle and tokenizers again for them.
test: setup ## Build and run all tests
	@cargo $(TEST)
	@cargo test --release --doc
	@$(MAKE) --no-print-directory test-device
	@cargo $(TEST) -p iota-inspect

# The GPU's kernels on the CPU; and the real thing compiles.
test-device: setup ## Build and run the tests of the GPU part, on an emulated one
	@cargo $(TEST:--tests=) -p iota -p gpu -p model -p train --features iota/emulation,iota/nccl \
	    --test device --test emulated --test driver --test nccl --test gpu
	@cargo check --release --features cuda
	@cargo check --release --features nccl

test-interop: build ## Load what iota writes in transformers and PEFT, if PYTHON has them
	@$(PYTHON) scripts/interop.py $(IOTA)

lint: ## Format check, clippy and documentation, warnings being errors
	@cargo fmt --all --check
	@cargo clippy --release --all-targets -- -D warnings
	@cargo clippy --release -p iota-inspect --all-targets -- -D warnings
	@RUSTDOCFLAGS="-D warnings" cargo doc --release --no-deps --document-private-items

bench: run ## Time a run with nothing to do, and run the crates' benchmarks
	@scripts/bench-noop --iota $(IOTA) --recipe $(RECIPE)
	@$(if $(wildcard stages/*/benches pipeline/*/benches),cargo bench --bench '*')

bench-judge: ## What judging costs beside the bare machine, and beside other sandboxes
	@cargo bench -p iota -p sandbox --bench run_cost

help: ## Say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@printf '\nStages, each with what it needs: %s\n' "$(strip $(STAGES))"
	@printf 'Looking at a recipe:             %s\n\n' "$(LOOKS)"
	@printf '  RECIPE=%-6s a recipe of pipeline/cli/recipes, or the path of one\n' '$(RECIPE)'
	@printf '  ARGS=         more arguments for iota\n'
