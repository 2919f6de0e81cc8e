# Everything here needs only make and Python 3.11 or newer. The first target that needs it
# creates .venv; it is updated when pyproject.toml or the version changes. `make help` lists the targets.

VENV ?= .venv
PY := $(VENV)/bin/python
SYMLINK_VIEW := .typecheck
# A worker that has nothing left to do takes tests from the other ones.
# NumPy and PyTorch get one thread: several wait for each other by spinning, which takes long on
# busy cores, and always for small arrays.
PYTEST_ARGS ?= --numprocesses auto --dist worksteal

# -P keeps the working directory off sys.path: there, `ops` and `compiler` would be importable
# a second time under the wrong name.
RUN := $(PY) -P

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help setup demo test gpu lint format typecheck docs wheel check clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1|\2/p' Makefile | while IFS='|' read -r name text; do \
		printf '  make %-10s %s\n' "$$name" "$$text"; done

setup: $(VENV)/.installed-dev ## create .venv with everything that development needs
	@:

demo: $(VENV)/.installed-demo ## run `graphnn demo`
	@$(RUN) -m graphnn demo

test: $(VENV)/.installed-dev ## run the tests
	@OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 $(RUN) -m pytest $(PYTEST_ARGS)

gpu: $(VENV)/.installed-dev ## run the tests that need a GPU; first .venv/bin/pip install -e '.[cuda13]'
	@$(RUN) -m pytest tests/gpu

lint: $(VENV)/.installed-dev ## check style and formatting
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

format: $(VENV)/.installed-dev ## rewrite the files in the house format
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

# mypy looks for graphnn/ops and graphnn/compiler: show it a folder in which they exist.
typecheck: $(VENV)/.installed-dev ## run mypy in strict mode
	@rm -rf $(SYMLINK_VIEW)
	@mkdir -p $(SYMLINK_VIEW)/graphnn
	@cd $(SYMLINK_VIEW)/graphnn && ln -s ../../graphnn/* ../../ops ../../compiler .
	cd $(SYMLINK_VIEW) && $(abspath $(PY)) -P -m mypy --config-file ../pyproject.toml \
		--cache-dir ../.mypy_cache -p graphnn

docs: $(VENV)/.installed-docs ## build the documentation into docs/_build/html
	$(RUN) -m sphinx -W --keep-going -b html docs docs/_build/html

wheel: $(VENV)/.installed-dev ## build the wheel and the sdist into dist/
	@rm -rf dist
	$(RUN) -m build --quiet --outdir dist .

check: ## run everything that CI runs
	@.ci/run

clean: ## remove everything that the other targets create
	rm -rf $(VENV) $(SYMLINK_VIEW) build dist graphnn.egg-info docs/_build demo_output \
		.mypy_cache .pytest_cache .ruff_cache .hypothesis
	find graphnn ops compiler tests examples benchmarks docs -name __pycache__ \
		-type d -prune -exec rm -rf {} +

# A package whose data are read, and which is never imported: what it depends on does not fit what
# graphnn depends on.
READ_ONLY := aeon

# One stamp for each set of extras.
EXTRAS_demo := viz,data
EXTRAS_dev := dev
EXTRAS_docs := dev,docs

$(VENV)/.installed-%: pyproject.toml graphnn/_version.py | $(PY)
	@echo "installing graphnn[$(EXTRAS_$*)] into $(VENV) ..."
	@$(PY) -P -m pip install --quiet --disable-pip-version-check --editable '.[$(EXTRAS_$*)]'
	@$(PY) -P -m pip install --quiet --disable-pip-version-check --no-deps $(READ_ONLY)
	@touch $@

$(PY):
	@found=; \
	for name in python3 python3.14 python3.13 python3.12 python3.11; do \
		$$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
		found=$$name; \
		$$name -c 'import ensurepip, venv' 2>/dev/null || continue; \
		echo "creating $(VENV) with $$($$name --version) ..."; \
		$$name -m venv $(VENV) && exit 0; \
		rm -rf $(VENV); \
		echo "error: '$$name -m venv $(VENV)' failed: see above." >&2; exit 1; \
	done; \
	if [ -n "$$found" ]; then \
		echo "error: $$found has no 'venv' with 'ensurepip'. Debian and Ubuntu ship them" >&2; \
		echo "separately: install the package python3-venv, then run make again." >&2; \
	else \
		echo "error: no Python 3.11 or newer among python3, python3.14, python3.13," >&2; \
		echo "python3.12 and python3.11. Install one, then run make again." >&2; \
	fi; exit 1
