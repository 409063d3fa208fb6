# Every target sets up what it needs; `make` alone lists them.

# A shell's PYTHON is one more candidate; whoever means one writes `make PYTHON=…`.
ifneq ($(origin PYTHON),command line)
PYTHON := $(shell for each in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11; do \
	$$each -I -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$each && break; done)
endif
VENV := .venv
BIN := $(VENV)/bin
UV_VERSION := 0.13.9
# The lock file alone decides what is installed, whatever tools or settings the machine has.
SYNC := UV_PROJECT_ENVIRONMENT=$(VENV) UV_PYTHON=$(BIN)/python $(BIN)/uv sync --quiet --locked --inexact --no-progress
# Installing sees the user's variables, since it needs their proxies, indexes and certificates. What runs afterwards has
# an environment of its own: nothing exported reaches a test, and no test reaches what an exported variable names.
ALONE := $(BIN)/python -m ogc_async.sandbox.isolation
OPENSSH := .bench/openssh
# Tests wait for machines that boot more than they compute: three keep two cores busy.
ifneq ($(origin JOBS),command line)
JOBS := 3
endif
# Far more than the suite takes: whatever happens, the command ends, and takes all that it has started with it.
ifneq ($(origin TEST_TIMEOUT_S),command line)
TEST_TIMEOUT_S := 3600
endif
# Words for a target's program are written with the target, not found in a shell.
ifneq ($(origin ARGS),command line)
ARGS :=
endif
# Certificates that this machine trusts count, as they do for pip: an office's own index works too.
export UV_SYSTEM_CERTS := 1
# Of a shell's settings for Python, pip and uv only those count that say where packages come from: others would put
# different packages, or a different place, in theirs.
SOURCES := PIP_%INDEX_URL PIP_NO_INDEX PIP_FIND_LINKS PIP_TRUSTED_HOST PIP_CERT PIP_CLIENT_CERT PIP_PROXY PIP_KEYRING_PROVIDER \
	PIP_CONFIG_FILE PIP_CACHE_DIR PIP_NO_CACHE_DIR PIP_RETRIES PIP_TIMEOUT PIP_DEFAULT_TIMEOUT UV_%INDEX UV_INDEX% \
	UV_EXTRA_INDEX_URL UV_FIND_LINKS UV_INSECURE_HOST UV_KEYRING_PROVIDER UV_CREDENTIALS_DIR UV_CONFIG_FILE UV_CACHE_DIR \
	UV_NO_CACHE UV_LINK_MODE UV_OFFLINE UV_HTTP_% UV_CONCURRENT_% UV_REQUEST_TIMEOUT UV_SYSTEM_CERTS UV_NATIVE_TLS
unexport $(filter-out $(SOURCES),$(filter PYTHON% PIP_% UV_% GIT_%,$(.VARIABLES))) VIRTUAL_ENV CONDA_PREFIX BASH_ENV ENV CDPATH

.DEFAULT_GOAL := help
.PHONY: help demo test crash ends check bench bench-full bench-report counts fan-out throttle readme format lock clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.run  ## watch real work: 7 nodes of 2 layouts, launched, deployed to, torn down, on this machine alone
	@$(BIN)/ogc demo

test: $(VENV)/.dev $(OPENSSH)  ## run the whole test suite, with a PostgreSQL server of its own
	@timeout --kill-after=30 $(TEST_TIMEOUT_S) \
		$(ALONE) $(if $(CI),CI=true) $(BIN)/python -m pytest --numprocesses $(JOBS) --dist worksteal $(ARGS)

crash: $(VENV)/.dev  ## kill or cancel at every commit, request and await, and at 1,000 random instants of bad weather, and lie in every reply: one sync mends it
	@$(ALONE) OGC_CRASH=full OGC_CRASH_RANDOM=1000 $(BIN)/python -m pytest tests/crash tests/cancellation tests/lies -s --timeout 7200 $(ARGS)

ends: $(VENV)/.dev  ## kill the controller of 200 machines, delete its database, and hurt what is to end them, each in ten ways
	@$(ALONE) OGC_CRASH=full $(BIN)/python -m pytest tests/acceptance/test_lost_database.py -s --timeout 900 $(ARGS)

check: $(VENV)/.dev  ## run the static checks: lock file, format, lint, types
	@$(BIN)/uv lock --check --quiet
	@$(ALONE) $(BIN)/ruff format --check --quiet .
	@$(ALONE) $(BIN)/ruff check --quiet .
	@$(ALONE) $(BIN)/mypy

bench: $(VENV)/.bench  ## race against what people would use instead, in minutes; tables and plots go to the README
	@$(BIN)/python -m benchmarks quick $(ARGS)

bench-full: $(VENV)/.bench  ## the same with larger fleets and more runs, in 70 minutes
	@$(BIN)/python -m benchmarks full $(ARGS)

bench-report: $(VENV)/.bench  ## draw the plots and write the README's figures again, from the results there are
	@$(BIN)/python -m benchmarks report $(ARGS)

readme: $(VENV)/.dev  ## write the README's section about commands anew from their help texts
	@$(ALONE) $(BIN)/python -m tests.acceptance.command_pages

counts: $(VENV)/.dev  ## print what each verb asks of the database and the cloud at 1, 10 and 100 nodes (3 minutes)
	@$(BIN)/python -m benchmarks.counts $(ARGS)

throttle: $(VENV)/.dev  ## launch 1,250 nodes from five processes at once, then from one, and print what was refused (5 minutes)
	@$(ALONE) $(BIN)/python -m benchmarks.throttling $(ARGS)

fan-out: $(VENV)/.dev  ## launch 1 to 5,000 nodes, and print what each size costs: calls, seconds, CPU, memory
	@$(ALONE) $(BIN)/python -m benchmarks.fan_out $(ARGS)

format: $(VENV)/.dev  ## format the code
	@$(ALONE) $(BIN)/ruff format --quiet .
	@$(ALONE) $(BIN)/ruff check --quiet --fix .

lock: $(VENV)/.uv  ## renew the lock file within the bounds of pyproject.toml
	@$(BIN)/uv lock --upgrade

clean:  ## remove the environment and all caches
	@rm -rf $(VENV) .bench .mypy_cache .pytest_cache .ruff_cache build dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.uv:
	@test -n "$(PYTHON)" || { echo "make: Python 3.11 or later is needed; name one with PYTHON=…" >&2; exit 1; }
	@echo "making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -I -m venv $(VENV) || { echo "make: $(PYTHON) can not make an environment; on Debian: apt install python3-venv" >&2; \
		rm -rf $(VENV); exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@touch $@

$(VENV)/.run: $(VENV)/.uv pyproject.toml uv.lock
	@$(SYNC) --no-dev
	@touch $@

$(VENV)/.dev: $(VENV)/.uv pyproject.toml uv.lock
	@$(SYNC) --group dev
	@touch $@ $(VENV)/.run

$(VENV)/.bench: $(VENV)/.dev
	@$(SYNC) --group dev --group bench
	@touch $@

# Fetched by the user's own settings. Where it can not be had, the tests that need it say so.
$(OPENSSH): | $(VENV)/.dev
	-@$(BIN)/python -m tests.openssh
