# Gatehouse. `make help` lists the targets.
SHELL := /bin/sh
.DEFAULT_GOAL := help

PYTHON = .venv/bin/python
PYTEST = $(PYTHON) -m pytest -n 2 --dist loadfile --no-loadscope-reorder --max-worker-restart 0

# Deferred: only the recipe that makes the virtual environment looks for an interpreter.
SYSTEM_PYTHON = $$(for python in python3.13 python3.12 python3.11 python3; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
CHECK_ENVIRONMENT = DATA_DIR="$$(mktemp -d)" PUBLIC_URL=https://gatehouse.example.com TRUSTED_PROXIES=127.0.0.1/32 \
	SECRET_KEY="$$($(PYTHON) -c 'import secrets; print(secrets.token_urlsafe(64))')" \
	GATEHOUSE_KEK="$$($(PYTHON) -c 'import base64, os; print(base64.b64encode(os.urandom(32)).decode())')"

.PHONY: help up setup setup-dev test check format lint types imports migrations deploy-check conformance soak bench bench-evidence lock

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

up: setup ## start Gatehouse on http://127.0.0.1:8000 (PORT=, HOST=, DATA_DIR=, DEMO=0)
	@$(PYTHON) manage.py up

setup: .venv/.shipping ## make the virtual environment and install what ships

setup-dev: .venv/.development ## install what tests and linters need, too

.venv/.shipping: requirements.lock scripts/bootstrap.py
	@python=$(SYSTEM_PYTHON); \
	test -n "$$python" || { echo "Gatehouse needs Python 3.11 or newer; none was found on PATH." >&2; exit 1; }; \
	$$python scripts/bootstrap.py requirements.lock
	@touch $@

.venv/.development: .venv/.shipping requirements-dev.lock
	@$(PYTHON) scripts/bootstrap.py requirements-dev.lock
	@touch $@

check: format lint types imports migrations deploy-check test ## everything CI checks

format: setup-dev ## is the code formatted?
	$(PYTHON) -m ruff format --check .

lint: setup-dev ## do the linters of code and templates find anything?
	$(PYTHON) -m ruff check .
	$(PYTHON) -m djlint --quiet --check --lint templates

types: setup-dev ## do the types hold?
	$(PYTHON) -m mypy

imports: setup-dev ## do the rooms import only what they may?
	.venv/bin/lint-imports

migrations: setup-dev ## is a migration missing?
	DJANGO_SETTINGS_MODULE=config.settings_test $(PYTHON) manage.py makemigrations --check --dry-run

deploy-check: setup-dev ## would Django deploy this?
	$(CHECK_ENVIRONMENT) $(PYTHON) manage.py check --deploy --fail-level WARNING

test: setup-dev ## the whole suite on SQLite, the database tests once more on PostgreSQL
	@$(PYTHON) -m tests.services $(MAKE) --no-print-directory test-sqlite test-postgres

.PHONY: test-sqlite test-postgres
# Playwright switches stacks inside the interpreter: nothing else shares a process with it.
test-sqlite:
	$(PYTEST) -m "not soak" --ignore tests/browser
	$(PYTEST) -m "not soak" tests/browser

test-postgres:
	@if [ -n "$$TEST_DATABASE_URL" ]; then \
		echo "DATABASE=postgres $(PYTEST) -m 'database and not soak'"; \
		DATABASE=postgres $(PYTEST) -m "database and not soak" --ignore tests/browser --ignore tests/conformance --ignore tests/end_to_end; \
	else echo "No PostgreSQL here: the database tests ran on SQLite only."; fi

soak: setup-dev ## the long tests, on both databases (SOAK_SECONDS=300 a storm, SOAK_MINUTES=30 for growth, SOAK_SEED=)
	$(PYTHON) -m tests.services --durable sh -c '$(PYTHON) -m pytest -m soak --timeout 0 && { [ -z "$$TEST_DATABASE_URL" ] || \
		DATABASE=postgres $(PYTHON) -m pytest -m "soak and database or plain_sql and not soak" --timeout 0; }'

conformance: setup-dev ## the official MCP suite through a gateway: every revision, both databases, one process and two
	$(PYTHON) -m tests.services $(PYTEST) -m conformance tests/conformance

bench: setup-dev ## measure against nginx and direct
	$(PYTHON) -m tests.services --durable $(PYTHON) -m bench

bench-evidence: setup-dev ## measure how fast evidence is recorded, sealed, exported and verified, on PostgreSQL
	$(PYTHON) -m tests.services --durable $(PYTHON) -m bench.evidence

lock: setup-dev ## pin every package anew, for every platform
	$(PYTHON) scripts/lock.py
