# Stepwatch. `make bench` is all that a newcomer needs; `make help` lists the rest.
SUITE  ?= quick
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
ARGS   ?=
# Where torch comes from, besides the usual index. Without an NVIDIA device PyTorch's CPU index is tried, which spares
# gigabytes of CUDA; `make setup TORCH_INDEX=` (empty) keeps to the usual index, another address takes that one.
TORCH_INDEX ?= auto
CPU_INDEX   := https://download.pytorch.org/whl/cpu
# The CUDA builds where the driver shows a device, the small CPU builds elsewhere; `make setup EXTRAS=torch` for one.
GPU    := $(shell test -e /dev/nvidiactl && echo yes)
EXTRAS ?= $(if $(GPU),gpu,all)

.PHONY: help setup bench test test-all check parity selftest gate data clean
.DEFAULT_GOAL := help

help:
	@echo "make bench [SUITE=quick|smoke|cpu|gpu]  set up, measure, print the table   (ARGS='--instance c5.2xlarge')"
	@echo "make setup   set up .venv only          make test    the tests"
	@echo "make test-all  the long tests too"
	@echo "make parity  print the proof            make check   ruff, mypy and the import rules"
	@echo "make selftest [ARGS=--quick]            try the harness itself"
	@echo "make gate    [BASE=main]                did a change of Stepwatch itself make a step slower?"
	@echo "make data    fetch Fashion-MNIST        make clean   remove .venv"

DONE := $(VENV)/.done-$(EXTRAS)

setup: $(DONE)

# Made anew when what it depends on changes: the interpreter, the extras, or the pins.
$(DONE): pyproject.toml constraints.txt Makefile
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v < (3, 14) else \
	  "stepwatch wants Python 3.11, 3.12 or 3.13, found %d.%d; name one: make setup PYTHON=python3.12" % v)'
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "$(PYTHON) lacks the venv module; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	@index="$(TORCH_INDEX)"; \
	if [ "$$index" = auto ]; then \
	  index=""; \
	  if [ -z "$(GPU)" ] && $(BIN)/python -c \
	    'import urllib.request as u; u.urlopen("$(CPU_INDEX)/torch/", timeout=5)' 2>/dev/null; then \
	    index="$(CPU_INDEX)"; echo "no NVIDIA device: torch from $$index"; \
	  fi; \
	fi; \
	echo "installing .[$(EXTRAS),dev] into $(VENV); this takes a few minutes"; \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
	  $${index:+--extra-index-url $$index} -e '.[$(EXTRAS),dev]'
	@touch $@

bench: setup
	@$(BIN)/stepwatch run $(SUITE) $(ARGS)

# Two modules at a time, whole ones, since what a module's tests look at is made once; then those that judge times. With
# ARGS one after the other.
TESTS = @ended=0; \
  $(BIN)/python -m pytest -n 2 --dist loadfile -m "($(1)) and not alone" || ended=$$?; \
  $(BIN)/python -m pytest -m "($(1)) and alone" || ended=$$?; exit $$ended
test: setup
	$(if $(ARGS),@$(BIN)/python -m pytest $(ARGS),$(call TESTS,not long))

test-all: setup
	$(if $(ARGS),@$(BIN)/python -m pytest -m "long or not long" $(ARGS),$(call TESTS,long or not long))

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_boundaries.py

parity: setup
	@$(BIN)/stepwatch parity $(ARGS)

selftest: setup
	@$(BIN)/stepwatch selftest $(ARGS)

# The workers of the base arm import Stepwatch from BASE's own checkout: everything else is the same in both.
BASE ?= main
gate: setup
	@git worktree remove --force $(VENV)/base 2>/dev/null; git worktree prune
	@git worktree add --quiet --detach --force $(VENV)/base $(BASE)
	@$(BIN)/stepwatch gate self --base-flags PYTHONPATH=$(abspath $(VENV)/base) $(ARGS); code=$$?; \
	git worktree remove --force $(VENV)/base; exit $$code

# Debian's package where this user may install it, the official address elsewhere. Each says what it does.
data: setup
	@if $(BIN)/stepwatch data here fashion-mnist; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "installing Debian's package dataset-fashion-mnist (30 MB)"; \
	  { apt-get update -qq && apt-get install -y -qq dataset-fashion-mnist; } || $(BIN)/stepwatch data fetch fashion-mnist; \
	else $(BIN)/stepwatch data fetch fashion-mnist; fi

clean:
	rm -rf $(VENV)
