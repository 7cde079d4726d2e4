# Twelve verbs. `make check` and `make test` are exactly what continuous integration runs.
# Kept to what GNU make 3.81 (macOS) and POSIX sh understand.

VENV   := .venv
PYTHON := $(VENV)/bin/python
UV     := $(VENV)/uv/bin/uv
UV_PIN := uv==0.13.8
SOURCES := apps project tests bench docs manage.py
# Tracing costs Python 3.11 as much time as the tests themselves take.
MEASURED := $(if $(CI),-m coverage run)

.DEFAULT_GOAL := help
.PHONY: help run test check bench soak chaos format lock docs docs-images clean

help: ## show these verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

run: $(VENV)/.base-installed ## start Portico on this machine: everything, from nothing
	@exec $(PYTHON) manage.py up

test: $(VENV)/.local-installed ## run the tests in parallel; nothing needs to be started by hand (CI=1 measures coverage, too)
	@rm -f .coverage .coverage.*
	$(PYTHON) $(MEASURED) -m pytest -n 2 -m "not chaos"
ifdef CI
	@$(PYTHON) -m coverage combine --quiet
	$(PYTHON) -m coverage report --fail-under=90
	$(PYTHON) -m coverage report --fail-under=100 \
		--include='apps/core/*,apps/*/services.py,apps/*/services/*,apps/*/selectors.py,apps/*/selectors/*,apps/*/querysets.py'
endif

check: $(VENV)/.local-installed ## lint, types, import laws, dependencies, migrations, documents
	$(VENV)/bin/ruff check $(SOURCES)
	$(VENV)/bin/ruff format --check $(SOURCES)
	$(VENV)/bin/mypy apps project manage.py
	$(VENV)/bin/lint-imports
	$(VENV)/bin/deptry .
	$(PYTHON) -m tests.architecture.check_deploy
	DJANGO_SETTINGS_MODULE=project.settings.test $(PYTHON) -W ignore::RuntimeWarning manage.py makemigrations --check --dry-run
	$(PYTHON) -m tests.architecture.lint_migrations
	$(PYTHON) -m docs.generate --check

bench: $(VENV)/.local-installed ## measure the gateway and the lists; results go to bench/results/
	$(PYTHON) -m bench

soak: $(VENV)/.local-installed ## half load for half an hour, and whether anything grows (MINUTES=30)
	$(PYTHON) -m bench.soak --minutes $(or $(MINUTES),30)

chaos: $(VENV)/.local-installed ## kill processes under load and count what was lost
	$(PYTHON) -m pytest -n 0 -m chaos tests/chaos

format: $(VENV)/.local-installed ## rewrite the sources as the formatter wants them
	$(VENV)/bin/ruff check --fix $(SOURCES)
	$(VENV)/bin/ruff format $(SOURCES)

lock: $(VENV)/.local-installed ## compile requirements/*.in into hashed locks
	@for name in base test local production; do \
		$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes \
			requirements/$$name.in --output-file requirements/$$name.txt || exit 1; \
	done

docs: $(VENV)/.local-installed ## write the documents that the code dictates: settings, errors, permissions, OpenAPI
	$(PYTHON) -m docs.generate

docs-images: $(VENV)/.local-installed ## take the screenshots of the guides from a running Portico: URL=… EMAIL=… PASSWORD=…
	$(PYTHON) docs/make_images.py "$(URL)" "$(EMAIL)" "$(PASSWORD)"

clean: ## remove what can be made again; PORTICO_DATA stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .coverage .coverage.*
	find apps project tests bench -name __pycache__ -type d -prune -exec rm -rf {} +

# The environment. A stamp says which lock is installed, so that nothing happens while the locks stay as they are.

$(PYTHON):
	@python=; \
	for name in python3.12 python3.11 python3.13 python3; do \
		if $$name -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then python=$$name; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
		echo "Portico needs Python 3.11, 3.12 or 3.13 on the PATH (as python3.12, python3.11, python3.13 or python3)." >&2; exit 1; \
	fi; \
	echo "Creating $(VENV) with $$($$python --version)"; \
	if uv --version >/dev/null 2>&1; then \
		uv venv --quiet --python "$$($$python -c 'import sys; print(sys.executable)')" $(VENV); \
	elif ! $$python -m venv $(VENV); then \
		rm -rf $(VENV); \
		echo "Python's venv module is incomplete here: apt install python3-venv, or install uv." >&2; exit 1; \
	fi

# Beside the packages, not among them: `uv pip sync` removes what the lock does not name.
$(UV): $(PYTHON)
	@mkdir -p $(@D); \
	if uv --version >/dev/null 2>&1; then \
		printf '#!/bin/sh\nexec "%s" "$$@"\n' "$$(command -v uv)" > $@ && chmod +x $@; \
	else \
		$(PYTHON) -m pip install --quiet --disable-pip-version-check --upgrade --target $(VENV)/uv "$(UV_PIN)"; \
	fi
	@touch $@

$(VENV)/.base-installed: requirements/base.txt | $(UV)
	@if [ -e $(VENV)/.local-installed ]; then lock=local; else lock=base; fi; \
	$(UV) pip sync --quiet --python $(PYTHON) --require-hashes requirements/$$lock.txt
	@touch $@

$(VENV)/.local-installed: requirements/local.txt | $(UV)
	$(UV) pip sync --quiet --python $(PYTHON) --require-hashes requirements/local.txt
	@# So that a bare `pytest` finds the plugin that starts the services.
	@$(PYTHON) -c "import os, sysconfig; open(sysconfig.get_path('purelib') + '/portico.pth', 'w').write(os.getcwd())"
	@touch $(VENV)/.base-installed $@
