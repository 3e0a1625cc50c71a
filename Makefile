# Everything a person types. Each target makes the virtual environment it needs; nothing but Python and make is assumed.

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# The long simulations run where nobody waits for them: in CI.
SUITE := $(if $(CI),,-m "not slow")

.DEFAULT_GOAL := help
.PHONY: help demo run test slow simulate lint types contracts docs bench lock clean

help: ## This list
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

$(READY): requirements/dev.txt pyproject.toml tools/venv.sh
	@sh tools/venv.sh $(VENV)
	@touch $@

demo: $(READY) ## Three simulated clouds, a 30-day window, an evidence package that verifies
	@$(BIN)/collector demo --out demo-out

run: $(READY) ## The daemon, with ./collector.toml (collector init writes one)
	@$(BIN)/collector run

test: lint types contracts $(READY) ## Format, lint, types, contracts, generated files, tests
	@$(BIN)/python -m pytest -q -n 2 $(SUITE)

slow: $(READY) ## The long simulations
	@$(BIN)/python -m pytest -q -n 2 -m slow

# Each seed is a life of its own; what breaks names the command that lives it again.
SEEDS := 20
DAYS := 90
FIRST := 1

simulate: $(READY) ## SEEDS=20 lives of DAYS=90 from FIRST=1 on: seeded clouds, faults, crashes, operators; then the invariants
	@$(BIN)/python tests/simulate/simulate.py --seeds $(SEEDS) --days $(DAYS) --first $(FIRST)

lint: $(READY) ## Format and style
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .

types: $(READY) ## mypy, strict
	@$(BIN)/mypy

contracts: $(READY) ## Who may import whom
	@$(BIN)/lint-imports --no-cache

docs: $(READY) ## Write every generated file again
	@$(BIN)/python tools/generate.py

bench: $(READY) ## The measured claims, each against a baseline in the same run
	@$(BIN)/python bench/all.py

lock: $(READY) ## Resolve the dependencies again (needs uv)
	@sh tools/lock.sh

clean: ## Remove the virtual environments and what the demo wrote
	@rm -rf $(VENV) .venv-emulators demo-out
