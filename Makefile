# Build, try and test napari-promptable. `make help` lists the targets.

PYTHON ?= $(shell command -v python3.11 || command -v python3 || command -v python)
VENV ?= .venv
# Extra package index for PyTorch. Empty: a CPU build, see scripts/find_torch_index.sh.
# For a GPU: make env TORCH_INDEX=https://download.pytorch.org/whl/cu128
TORCH_INDEX ?=
# Further arguments for pytest: make pytest PYTEST_ARGS="tests/unit -x"
PYTEST_ARGS ?=

ifeq ($(OS),Windows_NT)
BIN := $(VENV)/Scripts
else
BIN := $(VENV)/bin
endif
TORCH_VERSION := $(shell sed -n 's/^torch==//p' constraints.txt)
TEST_HOME := $(CURDIR)/build/test-home
XVFB := $(if $(filter Linux,$(shell uname -s)),xvfb-run -a -s "-screen 0 1600x1200x24 +extension GLX +render -noreset")

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help env system demo test pytest lint docs bench dist clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

env: $(VENV)/.installed ## virtual environment with the package (editable), napari, Qt, tools

$(VENV)/.installed: pyproject.toml constraints.txt napari.yaml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is too old, 3.11 or newer is needed: make PYTHON=/path/to/python" >&2; exit 1; }
	bash scripts/install_system_libraries.sh venv "$(PYTHON)"
	@if [ ! -e "$(VENV)/pyvenv.cfg" ]; then echo "$(PYTHON) -m venv $(VENV)"; "$(PYTHON)" -m venv "$(VENV)"; fi
	@index="$(TORCH_INDEX)"; \
	if [ -z "$$index" ]; then \
		index=$$(bash scripts/find_torch_index.sh "$(BIN)/python" "$(TORCH_VERSION)") || exit; \
	fi; \
	set -x; "$(BIN)/python" -m pip install $${index:+--extra-index-url "$$index"} \
		-c constraints.txt -e ".[all,test]"
	@touch $@

system: ## system libraries that Qt needs for the tests (Debian and Ubuntu, with apt)
	bash scripts/install_system_libraries.sh gui

demo: env ## segment bundled images; results in demo-output/, no screen needed
	"$(BIN)/napari-promptable" demo --output demo-output

test: lint pytest ## everything that must pass

# Three processes run the tests. If each had threads on all cores, threads that wait for one
# another would spin while another process holds their core.
pytest: export OMP_NUM_THREADS ?= 1
pytest: export MKL_NUM_THREADS ?= $(OMP_NUM_THREADS)
pytest: export OMP_WAIT_POLICY ?= PASSIVE
# The same for windows that are drawn by software (Mesa): no threads beside the one that draws.
pytest: export LP_NUM_THREADS ?= 0
# Freed memory stays with its process: a tenth of the time of the tests of models went into
# handing back large arrays and fetching the next ones page by page (glibc only).
pytest: export MALLOC_MMAP_MAX_ ?= 0
pytest: export MALLOC_TRIM_THRESHOLD_ ?= 68719476736
# Some thirty processes import the package: all but the first find it compiled.
pytest: export PYTHONDONTWRITEBYTECODE =
pytest: export NAPARI_ENSURE_PLUGIN_MAIN_THREAD = 1
pytest: export NAPARI_CONFIG = $(TEST_HOME)/napari/settings.yaml
pytest: export NAPARI_PROMPTABLE_CACHE = $(TEST_HOME)/promptable
pytest: export XDG_CONFIG_HOME = $(TEST_HOME)/config
pytest: export XDG_CACHE_HOME = $(TEST_HOME)/cache
pytest: export XDG_DATA_HOME = $(TEST_HOME)/data
pytest: env system ## the tests, on a virtual screen
	$(XVFB) bash scripts/run_tests.sh "$(BIN)/python" $(PYTEST_ARGS)

lint: env ## style, types, manifest
	"$(BIN)/ruff" check .
	"$(BIN)/ruff" format --check .
	"$(BIN)/mypy"
	"$(BIN)/lint-imports" --no-logo
	"$(BIN)/npe2" validate napari.yaml

docs: env ## web pages; results in site/
	"$(BIN)/python" -m pip install -q -c constraints.txt -e ".[docs]"
	"$(BIN)/mkdocs" build --strict

bench: env system ## speed and memory, compared with the reference; results in docs/benchmarks.md
	$(XVFB) "$(BIN)/python" -m benchmarks.run

dist: env ## wheel and sdist; results in dist/
	"$(BIN)/python" -m hatchling build -t sdist -t wheel

clean: ## remove what the other targets made, but keep the environment
	rm -rf build dist site demo-output .mypy_cache .ruff_cache .pytest_cache .hypothesis
