# What a developer does here. Each target makes .venv by itself when it is missing or out of date.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
export EDGE_HOME ?= $(CURDIR)/.edge

.PHONY: install demo test soak check fix bench up down schemas constraints

install: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "Python 3.11 or newer is needed, this is " + sys.version'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,postgres]'
	touch $(READY)

demo: $(READY)
	$(BIN)/edge platform demo $(if $(KEEP),--keep)

up: $(READY)
	$(BIN)/edge platform up

down: $(READY)
	$(BIN)/edge platform down

# One process more than two cores: tests of processes wait most of the time.
test: $(READY)
	$(BIN)/python -m pytest tests/unit --quiet --numprocesses 2
	$(BIN)/python -m pytest tests/system tests/flows tests/contract --quiet --numprocesses 3 --dist loadfile

# Large bursts, with workers killed: minutes, and the numbers of docs/measurements.md.
soak: $(READY)
	$(BIN)/python -m pytest tests/soak --quiet -s
	$(BIN)/python -m pytest tests/system/test_rollout_survives_kills.py --quiet --every

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fix: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY)
	$(BIN)/python -m edge platform bench

schemas: $(READY)
	$(BIN)/python -m edge.lab.kube.build_schemas

# Names and versions of everything installed, without addresses, so that installs repeat.
constraints: $(READY)
	$(BIN)/python -m pip list --format=freeze --exclude-editable --exclude pip --exclude setuptools > constraints.txt
