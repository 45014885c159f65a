# Thin lines over tools people know. `make help` lists them; .ci/bootstrap.py prepares .venv.
#   PYTHON=python3.12   the Python to use          TORCH=cpu   the small build without CUDA (Linux)
#   MTL_INSTALLER=pip   install with pip alone, where uv would do it otherwise
#   ARGS=…              further arguments, for example: make lab ARGS=--ip=0.0.0.0

PYTHON ?=
TORCH ?=
ARGS ?=
PY := .venv/bin/python
PYTEST := $(PY) -m pytest
UV = $(firstword $(shell command -v uv) .venv/bin/uv)
# How notebooks are compared with their stored outputs: only here (see README, "If nbval dies").
NBVAL := --nbval --nbval-current-env --nbval-cell-timeout=600 -n 2 --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help setup setup-lab setup-kit lab test test-full test-more test-browser test-portable \
  test-combined test-twice test-changed test-oldest margins execute lint results benchmarks coverage \
  update clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed 's/:.*## /\t/' | expand -t 16

setup: ## prepare .venv for the tests (nothing to do, and no network, when it is up to date)
	@$(call bootstrap,test)

setup-lab: # only what the lessons need
	@$(call bootstrap)

setup-kit: # and what turns the lessons into a site and into a class's assignments
	@$(call bootstrap,test kit)

lab: setup-lab ## open JupyterLab on the first lesson
	@$(PY) -m mtl_helpers.teaching.notebooks lab $(ARGS)

test: setup ## everything that should hold, and every notebook against its stored outputs
	OMP_NUM_THREADS=1 $(PYTEST) tests notebooks $(NBVAL) $(ARGS)

test-full: test test-more ## test, then as on other machines, in the browser, and with two executes compared

test-more: test-portable test-combined test-browser test-twice

test-portable: setup ## the notebooks under AVX2, under SSE4, and twice with jitter in what is drawn
	$(PY) -m mtl_helpers.teaching.portable $(ARGS)

test-combined: setup
	$(PY) -m mtl_helpers.teaching.portable --settings combined --jobs 1

test-browser: setup
	$(PYTEST) tests/browser -m browser

test-twice: setup
	$(PY) -m mtl_helpers.teaching.notebooks execute --check

# The two slowest again, for the notebooks that differ from main (MTL_BASE names another base).
test-changed: setup
	MTL_ONLY=changed $(PYTEST) tests/browser -m browser
	$(PY) -m mtl_helpers.teaching.notebooks execute --check \
	  $$($(PY) -m mtl_helpers.teaching.changed)

test-oldest: setup ## core, kit and oracle tests with the lowest versions that pyproject.toml declares (needs uv)
	$(UV) venv --quiet --clear --python $(PY) build/oldest
	$(UV) pip install --python build/oldest --resolution lowest-direct -e ".[test]"
	OMP_NUM_THREADS=1 build/oldest/bin/python -m pytest tests/core tests/teaching tests/oracles -n 2 --dist loadfile

margins: setup ## how much room the claims have over 20 jittered runs, into the notebooks (long)
	$(PY) -m mtl_helpers.teaching.margins --write $(ARGS)

execute: setup ## run the notebooks from a clean kernel and store their outputs
	$(PY) -m mtl_helpers.teaching.notebooks execute $(ARGS)

lint: setup ## ruff over code and notebooks, and the form of the notebook files
	$(PY) -m ruff check
	$(PY) -m ruff format --check
	$(PY) -m mtl_helpers.teaching.notebooks canonical --check

results: setup ## run the recorded studies again (long)
	$(PY) -m mtl_helpers.teaching.studies $(ARGS)

benchmarks: setup ## the timed tests
	OMP_NUM_THREADS=1 $(PYTEST) tests/benchmarks -m benchmark $(ARGS)

coverage: setup ## which lines the tests reach (never together with nbval)
	OMP_NUM_THREADS=1 $(PYTEST) tests -n 2 --cov $(ARGS)

update: ## for maintainers: newest versions into constraints.txt and .venv (needs uv)
	@$(call bootstrap,test --update $(or $(ARGS),newest))

clean: ## remove what runs leave behind; .venv and data/downloads stay
	rm -rf build editions htmlcov *.egg-info .coverage .coverage.* .benchmarks .hypothesis .pytest_cache .ruff_cache
	find . -path ./.venv -prune -o -path ./data/downloads -prune -o -type d \
	  \( -name __pycache__ -o -name .ipynb_checkpoints \) -exec rm -rf {} +

# Any Python 3 can run bootstrap.py, which then looks for one that fits.
define bootstrap
for python in python3 python3.11 python3.12 python3.13 "$(PYTHON)"; do \
  if "$$python" -c "" 2>/dev/null; then \
    exec "$$python" .ci/bootstrap.py --torch "$(TORCH)" --python "$(PYTHON)" $(1); \
  fi; \
done; \
echo "No Python found: install Python 3.11, 3.12 or 3.13 (https://www.python.org/downloads/)." >&2; \
exit 1
endef
