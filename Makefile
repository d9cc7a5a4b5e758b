# Everything lives in .venv; a stamp there says what is done, so a second run reuses it and a changed source rebuilds.
#   make demo    the simulated arm does what published instructions say; an address to watch it, pictures in demo/
#   make test    linters, type checker, unit tests, node tests, multi-process tests
#   make docs    the documentation as a site, in build/docs
#   make arm     the same arm, kept up, with its view: then `.venv/bin/smolvla-ros say "touch the red cube"`
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check
# The build calls cmake and ninja, the tests colcon, by name.
export PATH := $(CURDIR)/$(BIN):$(PATH)
REQUIREMENTS := $(wildcard packaging/*requirements.txt packaging/extras/*.txt)
# Folders are listed too: a deleted file changes only its folder.
SOURCES := CMakeLists.txt package.xml pyproject.toml setup.py packaging/backend.py \
  $(shell find action checkpoints cmake config launch msg scripts smolvla_ros srv urdf -name __pycache__ -prune -o -print)

.PHONY: venv build demo arm test lint docs clean

venv: $(VENV)/.requirements
build: $(VENV)/.package

$(VENV)/.requirements: constraints.txt $(REQUIREMENTS) packaging/system-packages packaging/cpu-torch
	packaging/system-packages $(PYTHON)
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet -c constraints.txt pip
	packaging/cpu-torch $(BIN)/python
	$(PIP) install -c constraints.txt $(REQUIREMENTS:%=-r %)
	touch $@

# The packages that the build needs are in the environment already, and build/ keeps CMake's work.
$(VENV)/.package: $(VENV)/.requirements $(SOURCES)
	$(PIP) install --quiet --no-build-isolation --no-deps --force-reinstall .
	touch $@

demo: build
	$(BIN)/smolvla-ros demo --view --output demo

arm: build
	$(BIN)/smolvla-ros arm --view

test: lint
	$(BIN)/pytest

lint: build
	$(BIN)/ruff check .
	$(BIN)/mypy

# A link that leads nowhere is an error.
docs: venv
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going docs build/docs

clean:
	rm -rf $(VENV) build demo *.egg-info
