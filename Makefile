# Two commands do all the set-up: `make run` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
LOCK := requirements.lock

.PHONY: help run schedule test soak check ui format lock clean

help:  ## what there is to make
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

run: $(VENV)/.installed  ## bring the model up to date: run what changed, register what is new
	@$(BIN)/wordmill retrain

CRON ?= 0 3 * * *
ZONE ?= UTC
schedule: $(VENV)/.installed  ## do that every night at three until Ctrl-C; CRON="0 */6 * * *" ZONE=Europe/Berlin
	@$(BIN)/wordmill schedule "$(CRON)" --timezone "$(ZONE)"

test: $(VENV)/.installed-dev  ## run the tests
	@$(BIN)/pytest --numprocesses auto --dist loadfile --no-loadscope-reorder --durations 5 -rs

soak: $(VENV)/.installed-soak  ## run the tests that go on for minutes: grids, schedules, kills, servers
	@$(BIN)/pytest -m soak -rs

check: $(VENV)/.installed-dev  ## format, lint, types, floors
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/basedpyright --pythonpath $(BIN)/python
	@$(BIN)/lint-imports

ui: $(VENV)/.installed  ## serve the MLflow and Prefect pages
	@$(BIN)/wordmill ui

format: $(VENV)/.installed-dev  ## put the code in shape
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

lock: $(VENV)/.installed-soak  ## write the versions installed now to the lock file
	@$(BIN)/pip freeze --exclude-editable | sed -E 's/\+cpu$$//' > $(LOCK)

clean:  ## remove the virtual environment
	@rm -rf $(VENV)

$(VENV)/.installed: pyproject.toml $(LOCK)
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'wordmill needs Python 3.11 or newer, this is ' + sys.version.split()[0] + '; try: make PYTHON=python3.12 ...')"
	@test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	@echo "Installing the locked dependencies into $(VENV): about two minutes, once"
	@$(BIN)/pip install --disable-pip-version-check --quiet --constraint $(LOCK) --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@$(BIN)/pip install --disable-pip-version-check --quiet --constraint $(LOCK) --editable ".[dev]"
	@touch $@

$(VENV)/.installed-soak: $(VENV)/.installed-dev
	@$(BIN)/pip install --disable-pip-version-check --quiet --constraint $(LOCK) --editable ".[dev,soak]"
	@touch $@
