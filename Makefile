# `make demo` and `make test` need Python 3.11 or newer and make, and no root. Everything goes
# into .venv; to use a certain interpreter: `make test PYTHON=python3.13`.
# Written for POSIX sh and GNU make 3.81, which is what macOS ships.

SHELL := /bin/sh
.DEFAULT_GOAL := help

BIN := .venv/bin
# The stamps are written last, so a .venv whose making was interrupted is made again.
MADE := .venv/.golive-made
RUN := .venv/.golive-run
DEV := .venv/.golive-dev
BENCH := .venv/.golive-bench
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet
# GOLIVE_LOCKED=1, as continuous integration sets it: exactly what requirements/ci.txt lists. Else the
# newest releases that pyproject.toml allows, so that somebody meets a break before users do.
INSTALL_DEV = $(if $(GOLIVE_LOCKED),$(PIP) --require-hashes --requirement requirements/ci.txt && \
  $(PIP) --no-deps --no-build-isolation --editable .,$(PIP) --editable '.[all,dev]')
LOCK := $(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 \
  --no-annotate --no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock' $(LOCK_ARGS)

# A thousand processes start in `make test`: without the compiled files of the one before, each would
# compile our modules again, and each test worker the tests.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test sessions lint types bench faults parties simulate soak fuzz mutants model model-deep lock clean FORCE

help:
	@echo "make demo    run the demo: a real server, a heartbeat, six workers, a paper venue"
	@echo "make test    run the tests"
	@echo "make sessions  pages from their first command to their last, the demo, slow failovers; five minutes"
	@echo "make lint    ruff and the import contracts"
	@echo "make types   mypy"
	@echo "make bench   the figures, each beside its floor"
	@echo "make faults  every row of faults on both servers, with orders to a witness; four minutes"
	@echo "make parties  our logs and our witness against another implementation; Python 3.12 or newer"
	@echo "make simulate         63 cluster-hours of faults against the real state machines"
	@echo "make soak-simulation  the same with new seeds, until stopped"
	@echo "make soak     50 workers under faults for ten minutes; SOAK_ARGS='--seconds 60' for a look"
	@echo "make fuzz     a million strange inputs for every parser at the edge; new examples for the laws"
	@echo "make mutants          break each rule of the product, and see that somebody notices"
	@echo "make model     the TLA+ model of the protocol, every rule dropped once; needs Java"
	@echo "make model-deep  the same with larger constants; hours"
	@echo "make lock    pin what pyproject.toml allows, with hashes; LOCK_ARGS=--upgrade for the newest"
	@echo "make clean   remove .venv and everything that tools wrote"

demo: $(RUN)
	@$(BIN)/golive demo

test: $(DEV)
	@$(BIN)/python -P -m pytest -n auto --dist loadgroup --durations 20 -m "not session" $(PYTEST_ARGS)

# One at a time: they are what a user does, at the pace of a user's machine.
sessions: $(DEV)
	@$(BIN)/python -P -m pytest -v --durations 0 -m session $(SESSIONS_ARGS)

lint: $(DEV)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports --no-cache --no-logo

types: $(DEV)
	@$(BIN)/mypy

bench: $(BENCH)
	@$(BIN)/python benchmarks/run.py $(BENCH_ARGS)

faults: $(DEV)
	@PYTHONPATH=tests $(BIN)/python -P -m faults.run $(FAULTS_ARGS)

# It makes a venv of its own: the other side takes a newer Python than ours.
parties:
	@tests/witness_party/run.sh $(PARTIES_ARGS)

simulate: $(DEV)
	@PYTHONPATH=tests $(BIN)/python -P -m simulation.run

soak-simulation: $(DEV)
	@PYTHONPATH=tests $(BIN)/python -P -m simulation.run --soak

soak: $(DEV)
	@PYTHONPATH=tests $(BIN)/python -P -m soak.run $(SOAK_ARGS)

fuzz: $(DEV)
	@PYTHONPATH=tests $(BIN)/python -P -m fuzz.run $(FUZZ_ARGS)
	@GOLIVE_DIFFERENTIAL=20000 $(BIN)/python -P -m pytest -q tests/property --hypothesis-profile=explore

mutants: $(DEV)
	@$(BIN)/python tests/mutants/run.py

model: $(DEV)
	@$(BIN)/python docs/model/check.py

model-deep: $(DEV)
	@$(BIN)/python docs/model/check.py --deep

# One resolution for every supported Python and platform; the image's versions are those of the tests.
lock: $(DEV)
	@$(PIP) uv
	@$(LOCK) --extra all --extra dev --output-file requirements/ci.txt pyproject.toml
	@$(LOCK) --extra patterns --constraint requirements/ci.txt --output-file requirements/image.txt pyproject.toml
	@$(subst 3.11,3.12,$(LOCK)) --extra parties --constraint requirements/ci.txt --output-file requirements/parties.txt pyproject.toml
	@$(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"])' | \
	  $(LOCK) --constraint requirements/ci.txt --output-file requirements/build.txt -

$(BENCH): pyproject.toml $(MADE)
	@echo "Installing golive-redis and what its benchmarks compare with into .venv"
	@$(PIP) --editable '.[all,bench]'
	@touch $@

clean:
	rm -rf .venv build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A .venv whose interpreter is gone (a removed or upgraded Python, a copied folder) is made anew.
ifneq ($(wildcard $(MADE)),)
ifneq ($(shell $(BIN)/python -c 'import sys; print(sys.prefix != sys.base_prefix)' 2>/dev/null),True)
$(MADE): FORCE
endif
endif

# Exit 2 with the one line to type, when there is no Python to use or it cannot make a venv
# (Debian ships `venv` without ensurepip until python3-venv is installed).
$(MADE):
	@set -u; found=; bare=; \
	for python in $(if $(PYTHON),"$(PYTHON)",python3.14 python3.13 python3.12 python3.11 python3); do \
	  "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 || continue; \
	  if "$$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then found=$$python; break; fi; \
	  bare=$$python; \
	done; \
	if [ -z "$$found" ]; then \
	  if [ -n "$$bare" ]; then echo "$$bare cannot make a virtual environment. Install what is missing:" >&2; \
	  else echo "No Python 3.11 or newer$(if $(PYTHON), at $(PYTHON)). Install one:" >&2; fi; \
	  if [ "$$(uname)" = Darwin ]; then echo "  brew install python" >&2; \
	  else echo "  sudo apt-get install -y python3-venv" >&2; fi; \
	  exit 2; \
	fi; \
	set -e; \
	echo "Making .venv with $$found ($$("$$found" -c 'import platform; print(platform.python_version())'))"; \
	"$$found" -m venv --clear .venv; \
	touch $@

$(RUN): pyproject.toml $(MADE)
	@echo "Installing golive-redis into .venv"
	@$(PIP) --editable '.[demo]'
	@touch $@

$(DEV): pyproject.toml $(if $(GOLIVE_LOCKED),requirements/ci.txt) $(MADE)
	@echo "Installing golive-redis and the tools of its tests into .venv"
	@$(INSTALL_DEV)
	@touch $(RUN) $@
