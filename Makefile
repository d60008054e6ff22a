# Everything is set up in .venv and .tools by an ordinary user; nothing is installed into the system.
# PYTHON=/path/to/python3 chooses another Python than the newest one found.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory
BIN := .venv/bin
LOCKED := install --quiet --disable-pip-version-check --require-hashes
export PYTHON

.PHONY: setup demo test torture bench check cases lock clean help run-tools test-tools

setup: run-tools ## .venv/bin/submeter, and a broker for demo and simulate [BROKER=host:port]
	@[ -n "$(BROKER)" ] || scripts/get-mosquitto || { echo "Taking amqtt (MQTT 3.1.1) instead."; $(MAKE) .tools/amqtt/.done; }

demo: setup ## a simulated building month, billed by the real daemon [DEMO_SECONDS=60] [BROKER=host:port] [BUILDING=folder]
	@$(BIN)/python -m simulators.demo

test: test-tools ## all tests [STRICT=1: a skipped test fails]
	@scripts/get-mosquitto || true
	@scripts/get-faketime || true
	@scripts/get-mbpoll || true
	@scripts/get-postgresql || true
	$(BIN)/python -m pytest -n 3 --dist loadfile

torture: test-tools ## kills, power cuts and failing disks by the hundred, as root [LIVES=200] [STRICT=1]
	@scripts/get-mosquitto || true
	$(BIN)/python -m pytest tests/torture

bench: test-tools ## the figures of a release in a table and build/bench.json [ONLY=rss_mb,ready_s]; the disk's wear as root
	@scripts/get-mosquitto || true
	@$(MAKE) .tools/bench/.done || echo "The peers of the benches cannot be installed: they are not measured." >&2
	@$(BIN)/python -m benches

check: test-tools ## lint, types, imports, fast tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@! grep -rnw __import__ --include='*.py' gateway drivers simulators || { echo "__import__ hides from import-linter." >&2; exit 1; }
	$(BIN)/python -m pytest -q tests/core tests/drivers

cases: test-tools ## worked billing cases, one test each [CASES=file] [OPS=allocate,split_money]
	@CASES="$${CASES:-tests/data/billing-cases.json}"; export CASES; \
	[ -r "$$CASES" ] || { echo "CASES=$$CASES: there is no such file; name one in the format of tests/data/billing-cases.json." >&2; exit 1; }; \
	$(BIN)/python -m pytest -q tests/core/test_cases.py

lock: .tools/uv/.done ## write requirements/*.txt again; what is locked stays unless its lock is deleted first
	@set -e; compile() { UV_CUSTOM_COMPILE_COMMAND="make lock" .tools/uv/bin/uv pip compile \
		--quiet --universal --python-version 3.11 --generate-hashes "$$@"; }; \
	compile pyproject.toml -o requirements/run.txt; \
	compile pyproject.toml requirements/test.in -c requirements/run.txt -o requirements/test.txt; \
	compile requirements/build.in -c requirements/test.txt -o requirements/build.txt; \
	compile requirements/demo.in -o requirements/demo.txt; \
	compile requirements/bench.in -o requirements/bench.txt

clean: ## remove all that make has set up or built
	rm -rf .venv .tools build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | expand -t 8

run-tools: .venv/.project
test-tools: .venv/.project .venv/.test

.venv/.made:
	@python=$$(scripts/prerequisites) && echo "Setting up .venv with $$python ..." && "$$python" -m venv .venv
	@touch $@

.venv/.run: .venv/.made requirements/build.txt requirements/run.txt
	@$(BIN)/python -m pip $(LOCKED) -r requirements/build.txt -r requirements/run.txt
	@touch $@

.venv/.test: .venv/.run requirements/test.txt
	@echo "Installing what the tests need into .venv ..."
	@$(BIN)/python -m pip $(LOCKED) -r requirements/test.txt
	@touch $@

.venv/.project: .venv/.run pyproject.toml
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-index --no-deps --no-build-isolation --editable .
	@touch $@

# What the benches measure beside the gateway.
.tools/bench/.done: .venv/.made requirements/bench.txt
	@$(BIN)/python -m venv .tools/bench
	@.tools/bench/bin/python -m pip $(LOCKED) -r requirements/bench.txt
	@touch $@

# The demo's broker of last resort.
.tools/amqtt/.done: .venv/.made requirements/demo.txt
	@$(BIN)/python -m venv .tools/amqtt
	@.tools/amqtt/bin/python -m pip $(LOCKED) -r requirements/demo.txt
	@touch $@

.tools/uv/.done: .venv/.made
	@$(BIN)/python -m venv .tools/uv
	@.tools/uv/bin/python -m pip install --quiet --disable-pip-version-check "uv>=0.13,<0.14"
	@touch $@
