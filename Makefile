.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo demo-picture walkthrough screenshots causes postmortem test lint audit soak reliability bench lock dev wheel clean

BIN     := .venv/bin
LOCKED  := .venv/.locked
WHEEL   := .cache/wheel-venv
INSTALLED := $(WHEEL)/.installed
SOURCES := $(shell find detector rules -type f ! -name '*.py[co]') pyproject.toml README.md LICENSE
STEP     = @printf '\n== %s\n'
# the wheel's own environment: no source tree on sys.path before it, in child processes neither
PYTEST   = DETECTOR_TEST_WHEEL=1 PYTHONSAFEPATH=1 $(WHEEL)/bin/python -m pytest
WORKERS ?= 4
ARGS    ?=

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(INSTALLED) ## a broken service, a real Prometheus, the daemon and a PagerDuty stand-in, in under two minutes
	@.ci/provide prometheus
	$(WHEEL)/bin/detector demo $(ARGS)

demo-picture: $(INSTALLED) ## the demo once more, as docs/demo.svg for the README
	@.ci/provide prometheus
	$(WHEEL)/bin/detector demo --record docs/demo.svg

walkthrough: $(INSTALLED) ## docs/incident-walkthrough.md anew, from a run with every channel
	@.ci/provide prometheus servers
	PYTHONSAFEPATH=1 $(WHEEL)/bin/python -m tests.kit.walkthrough

screenshots: $(INSTALLED) ## the console's pages anew, as docs/console/*.png: look at them
	@.ci/provide servers
	PYTHONSAFEPATH=1 $(WHEEL)/bin/python -m tests.kit.gallery docs/console

causes: $(INSTALLED) ## seven causes and what each check says of them, into docs/diagnosis.md
	@.ci/provide prometheus servers
	PYTHONSAFEPATH=1 $(WHEEL)/bin/python -m tests.kit.causes

postmortem: $(INSTALLED) ## docs/postmortem-demo.md and .svg anew: look at the picture
	@.ci/provide prometheus
	PYTHONSAFEPATH=1 $(WHEEL)/bin/python -m tests.kit.lesson

test: lint $(INSTALLED) ## everything CI runs: lint, then all tests against the built wheel
	$(STEP) 'servers for the tests'
	@.ci/provide prometheus servers
	$(STEP) 'tests of the shipped rules'
	@$(WHEEL)/bin/detector test rules
	$(STEP) 'tests, against the built wheel'
	@$(PYTEST) -n $(WORKERS) --maxschedchunk 2 $(ARGS)

lint: $(LOCKED) ## ruff, mypy and the import contracts
	$(STEP) 'ruff'
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	$(STEP) 'mypy'
	@$(BIN)/mypy
	$(STEP) 'imports'
	@$(BIN)/lint-imports --no-cache --no-logo
	@! grep -n '://' requirements.lock || { echo 'requirements.lock: holds an address; run `make lock`'; exit 1; }

audit: $(LOCKED) ## known faults of the locked packages, by pip-audit where its database can be reached
	@.ci/audit

soak: $(INSTALLED) ## long runs with random kills
	@.ci/provide prometheus servers
	$(PYTEST) -m soak --timeout 3600 $(ARGS)

reliability: $(INSTALLED) ## docs/reliability.md anew, from the tests of the real process; ARGS=--soak for the long ones
	@.ci/provide prometheus servers
	DETECTOR_TEST_WHEEL=1 PYTHONSAFEPATH=1 $(WHEEL)/bin/python -m tests.kit.reliability run $(ARGS)

bench: $(INSTALLED) ## measure latency and cost against their budgets
	@.ci/provide prometheus servers vmalert
	$(WHEEL)/bin/python -m benchmarks $(ARGS)

lock: $(LOCKED) ## write requirements.lock anew from pyproject.toml
	$(BIN)/uv pip compile --system-certs --universal --python-version 3.11 --extra dev --generate-hashes --no-header --no-annotate \
		--upgrade -q -o requirements.lock pyproject.toml

dev: $(LOCKED) ## install the source tree, editable, into .venv
	$(BIN)/uv pip install -q --python $(BIN)/python --no-deps --no-build-isolation -e .

wheel: $(INSTALLED) ## build the wheel into dist/ (by way of the sdist)

clean: ## remove everything that the targets made
	rm -rf .venv .cache dist build .hypothesis .import_linter_cache

$(LOCKED): requirements.lock .ci/provide
	$(STEP) 'environment'
	@.ci/provide python
	@touch $@

$(INSTALLED): $(LOCKED) $(SOURCES)
	$(STEP) 'wheel'
	@rm -rf dist $(WHEEL)
	@$(BIN)/python -m build --no-isolation -o dist . >.cache/build.log 2>&1 || { cat .cache/build.log; exit 1; }
	@$(BIN)/python -m venv --without-pip $(WHEEL)
	@$(BIN)/python -c "import sysconfig; print(sysconfig.get_path('purelib'))" >.cache/purelib
	@# the locked packages, then the repository (for tests and benchmarks), both after the wheel itself
	@{ cat .cache/purelib; pwd; } >"$$($(WHEEL)/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")/locked.pth"
	@$(BIN)/uv pip install -q --compile-bytecode --python $(WHEEL)/bin/python --no-deps --offline dist/*.whl
	@$(WHEEL)/bin/detector --version
	@touch $@
