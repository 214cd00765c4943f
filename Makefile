# Six commands for every day: demo test test-fast lint types check. The long ones stand below them. Each sets up all that it
# needs in .venv, once.

PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& { echo $$p; break; }; done)
BIN := .venv/bin

# What `make test-fast` leaves out: kills, faults and hostile files, whole programs, every step of a cancellation, every
# byte of a torn append, other processes, and the contract on more stores than one in memory and one on files.
SLOW := tests/trust tests/test_examples.py tests/concurrency/test_worker_threads.py tests/model/test_lossless_json.py \
	tests/stores/test_codec.py tests/stores/test_writing_a_store.py tests/stores/file/format/test_torn.py \
	tests/turns/test_cancellation.py tests/turns/test_outcomes.py tests/turns/test_thrown_away.py tests/stores/servers \
	tests/stores/sqlite tests/stores/encryption tests/cli/test_chatting.py tests/features/test_trash.py

.PHONY: demo test test-fast lint types check coverage bench soak mutants mutation sdk-tests clean fuzz

# The package alone is enough for it. Whoever has the tools of a developer already uses that environment.
demo: $(if $(wildcard .venv/ready),.venv/ready,.venv/demo-ready) ## an agent holds a conversation across two processes
	@$(BIN)/python examples/quickstart.py

test: .venv/ready ## the whole test suite
	@$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal

test-fast: .venv/ready ## most of it in a minute and a half: what to run while you work
	@$(BIN)/python -m pytest tests $(SLOW:%=--ignore=%) -k "not process and not forked" \
		--numprocesses auto --maxprocesses 4 --dist worksteal

lint: .venv/ready ## style and format
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: .venv/ready ## mypy --strict
	@$(BIN)/mypy

check: lint types test ## all three: what CI runs

coverage: .venv/ready ## lines and branches that the suite runs; without the trust tests, which would hide what others miss
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest tests --ignore tests/trust
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report

bench: .venv/ready ## figures against SQLiteSession, side by side
	@$(BIN)/python -m benchmarks

soak: .venv/ready ## the trust tests at length: kills, power cuts, concurrency, growth, the model, broken files; over an hour
	@TRUST_KILLS=5000 TRUST_SECONDS=60 TRUST_SENDS=100000 TRUST_STEPS=5000 POWER_CUT_STATES=1200000 \
		$(BIN)/python -m pytest -s tests/trust/test_crash.py tests/trust/test_concurrency.py tests/trust/test_growth.py \
		tests/trust/test_invariants.py tests/trust/test_power_cut.py
	@$(BIN)/python tests/trust/fuzz_document.py 1000000

sdk-tests: .venv/ready ## the SDK's own session tests, with FileSession in the place of SQLiteSession; downloads its source
	@$(BIN)/python tools/sdk_tests.py

mutants: .venv/ready ## deliberate mistakes in a copy of the package: each must be caught
	@$(BIN)/python tools/mutants.py

mutation: .venv/mutation-ready ## 40 small changes of each module that stores, by chance: nine of ten must be caught; over an hour
	@$(BIN)/python tools/mutation.py --sample 40

fuzz: .venv/ready ## a million broken files against the reader
	@$(BIN)/python tests/trust/fuzz_document.py 1000000

.venv/ready: pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer with the venv module is needed"; exit 1; }
	@echo "setting up .venv with $(PYTHON), once"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

.venv/demo-ready: pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer with the venv module is needed"; exit 1; }
	@echo "installing the package in .venv with $(PYTHON), once"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --no-compile --editable .
	@touch $@

.venv/mutation-ready: .venv/ready
	@$(BIN)/python -m pip install --quiet --editable '.[mutation]'
	@touch $@

clean:
	rm -rf .venv .sdk-tests .mypy_cache .ruff_cache .pytest_cache .hypothesis
