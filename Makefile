# The commands for developers, hooks and CI. Set-up is a dependency: it runs only if a lock has changed.
PYTHON ?= python3
BIN := .venv/bin
UV := $(BIN)/uv
PYTEST := $(BIN)/python -m pytest
# Test processes of make test, make test-services and a part of make test-slow.
WORKERS ?= 2
# A worker that ends in a test is not replaced: a new one would run this test again, several times.
DIST := -n $(WORKERS) --dist loadscope --max-worker-restart=0
# The tests of make test-slow, and the folders of those that put load on the machine, which run one after the other.
SLOW ?= slow or services
UNDER_LOAD := tests/serving tests/monitoring
INSTALL := VIRTUAL_ENV=.venv $(UV) pip install --require-hashes --compile-bytecode
COMPILE := $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --custom-compile-command "make lock"

.DEFAULT_GOAL := help
.PHONY: help train serve test test-slow test-services test-containers check format lock secrets images backup restore \
  demo-rollback demo-loop pictures bench clean

help: ## List the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

train: .venv/.training ## Train the Iris baseline and put it into Production
	@$(BIN)/python run.py --config baseline.yaml

serve: .venv/.serving ## Serve the version in Production on port 8000, and follow its changes
	@$(BIN)/python run.py serve

test: .venv/.dev ## Run the tests; COVERAGE=1 measures their coverage
	$(PYTEST) $(DIST) --no-loadscope-reorder -m "not slow and not services and not containers" $(if $(COVERAGE),--cov) $(ARGS)

test-slow: .venv/.dev ## Run kills, races, load, browsers and the variants on PostgreSQL
	$(PYTEST) $(DIST) --no-loadscope-reorder -m "$(SLOW)" $(addprefix --ignore=,$(UNDER_LOAD)) $(ARGS) $(if $(JUNIT),--junitxml=$(JUNIT)-1.xml)
	$(PYTEST) -m "$(SLOW)" $(UNDER_LOAD) $(ARGS) $(if $(JUNIT),--junitxml=$(JUNIT)-2.xml)

test-services: .venv/.dev ## Run the tests on PostgreSQL and S3 in place of SQLite and files
	RATCHET_TEST_SERVICES=1 $(PYTEST) $(DIST) -m "not slow and not containers" $(ARGS)

test-containers: .venv/.dev ## Run the compose project on a Docker engine: start, kill, restart, back-up, restore
	$(PYTEST) -m containers -v -rP tests/containers $(ARGS)

check: .venv/.dev ## Check lint, format, types and the layers of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/.dev ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: .venv/.uv ## Resolve the dependencies again: one lock for each image, one for development
	$(COMPILE) $(UPGRADE) --extra training --extra serving --extra dev pyproject.toml -o requirements/dev.txt
	$(COMPILE) --constraint requirements/dev.txt --extra training pyproject.toml -o requirements/training.txt
	$(COMPILE) --constraint requirements/dev.txt --extra serving pyproject.toml -o requirements/serving.txt
	$(COMPILE) --constraint requirements/dev.txt --extra webapp pyproject.toml -o requirements/webapp.txt

secrets: ## Write .env with a random value for each secret of the compose project that has none
	@sh deploy/secrets

images: ## Build both images, with the commit in them
	GIT_COMMIT=$$(deploy/git-commit) SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) docker compose build

backup: ## Save databases and bucket of the running compose project into backups/
	@deploy/backup

restore: ## Replace the state of the compose project by the back-up FROM=backups/…
	@deploy/restore "$(FROM)"

demo-rollback: .venv/.training ## Train two versions, promote, roll back, roll forward, in a scratch home
	@$(BIN)/python docs/demos/rollback.py

demo-loop: .venv/.training .venv/.serving ## Run service, watcher and a drifting stream together until quality has recovered
	@$(BIN)/python docs/demos/loop.py

pictures: .venv/.dev ## Draw the pictures of the documentation again, in docs/images; needs Chromium
	@PYTHONPATH=. $(BIN)/python docs/pictures/redraw.py

bench: .venv/.dev ## Run all benchmarks, and print their results in one table
	@for script in benchmarks/*.py; do case $$script in */measure.py|*/floor.py|*/table.py|*/__*) ;; *) $(BIN)/python $$script || exit 1 ;; esac; done
	@$(BIN)/python benchmarks/table.py

clean: ## Remove the environment, all state, and the output of runs
	rm -rf .venv .ratchet models .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache .import_linter_cache

.venv/.uv:
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v < (3, 13) else f"Python 3.11 or 3.12 is needed, this is {v[0]}.{v[1]}: make PYTHON=python3.11 ...")'
	@echo "Creating the environment .venv"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv==0.13.8'
	@touch $@

# The sizes are those of .venv on Linux with this lock alone; the locks share most packages.
.venv/.training: requirements/training.txt | .venv/.uv
	@echo "Installing $< into .venv: 1.6 GB on the disk, some minutes"
	@$(INSTALL) -r $<
	@touch $@

.venv/.serving: requirements/serving.txt | .venv/.uv
	@echo "Installing $< into .venv: 0.8 GB on the disk, some minutes"
	@$(INSTALL) -r $<
	@touch $@

.venv/.dev: requirements/dev.txt | .venv/.uv
	@echo "Installing $< into .venv: 2.2 GB on the disk, some minutes"
	@$(INSTALL) -r $<
	@touch $@
