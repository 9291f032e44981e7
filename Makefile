# What can be done with Nightreel, as commands. `make` alone lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.SUFFIXES:
.DELETE_ON_ERROR:

# Set, it would keep every start from reusing compiled modules: Airflow's CLI takes 3.4 s then, not 1.4 s.
unexport PYTHONDONTWRITEBYTECODE

PYTHON ?= python3.11
# As a person typed it: a $ in a file's name is a letter like any other.
override export FILE := $(value FILE)
override export WHY := $(value WHY)
override export DO := $(value DO)
override export FOLDER := $(value FOLDER)
override export LIST := $(value LIST)
export OPEN CLOSE ROUTE
# A flag is set with 1; 0 or nothing is no.
if_set = $(if $(filter-out 0,$(1)),$(2))
PY := .venv/bin/python
# Stamps: what .venv holds.
CONSOLE := .venv/.console
DEVELOPMENT := .venv/.development

SOURCES := console operators dags plugins images docs tests
LIST_FILES := git ls-files --cached --others --exclude-standard --

.PHONY: help demo up down restart status logs process benchmark bench backfill progress pause resume report psql gpu simulate-gpu images test check format docs clean

help: ## List the commands
	@sed -nE 's/^([a-z-]+):.*## (.*)$$/  make \1	\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 22

demo: up ## Start everything and take three sample files through it
	@$(PY) -m console.demo

up: images ## Start the services, or apply what changed; MONITORING=1 with Prometheus and Grafana from now on, 0 without
	@$(PY) -m console.stack up $(if $(MONITORING),--monitoring=$(MONITORING))

down: $(CONSOLE) ## Stop the services; databases, results and logs stay
	@$(PY) -m console.stack down

restart: $(CONSOLE) ## Restart Airflow, so that changed operators and plugins are read
	@$(PY) -m console.stack restart

status: $(CONSOLE) ## Say how each service is
	@$(PY) -m console.stack status

logs: $(CONSOLE) ## Follow the services' logs; SERVICE=scheduler for one
	@$(PY) -m console.stack logs $(SERVICE)

process: $(CONSOLE) ## Take FILE=clip.mp4 through the pipeline; URGENT=1, ARGS="--language en"
	@$(if $(FILE),,$(error FILE must name a media file: make process FILE=clip.mp4))$(PY) -m console.engine
	@$(PY) -m console.process $(call if_set,$(URGENT),--urgent) $(ARGS) -- "$$FILE"

benchmark: $(CONSOLE) ## Measure compute types and devices on FILE=clip.mp4; ARGS="--repeats 7 --variants int8=audio.transcribe:cpu:int8 …"
	@$(if $(FILE),,$(error FILE must name a media file: make benchmark FILE=clip.mp4))$(PY) -m console.engine
	@$(PY) -m console.benchmark $(ARGS) -- "$$FILE"

bench: $(DEVELOPMENT) images ## Measure the stages beside the paths teams start with, into docs/benchmarks.md; ARGS="--rounds 5 --only sound"
	@PYTHONPATH=images/base $(PY) -m tests.bench.stages --write docs/benchmarks.md $(ARGS)

backfill: $(CONSOLE) ## Process what has no result yet: FOLDER=archive/2024 or LIST=file; DRY_RUN=1, ORDER=oldest, UNTIL=06:00, ARGS=…
	@$(if $(FOLDER)$(LIST),,$(error FOLDER must name a folder, or LIST a file that lists some: make backfill FOLDER=archive/2024))$(PY) -m console.engine
	@$(PY) -m console.backfill $(if $(LIST),--list="$$LIST") $(call if_set,$(DRY_RUN),--dry-run) $(if $(ORDER),--order $(ORDER)) \
	  $(if $(UNTIL),--until $(UNTIL)) $(ARGS) -- $(if $(FOLDER),"$$FOLDER")

progress: $(CONSOLE) ## Show how running backfills go, or the last one's report; WATCH=1 until it ends, ARGS="--last 5"
	@$(PY) -m console.stack progress $(call if_set,$(WATCH),--watch) $(ARGS)

pause: $(CONSOLE) ## Pause all backfills: WHY="disks are moved"
	@$(if $(WHY),,$(error WHY must say why: make pause WHY="disks are moved"))$(PY) -m console.stack pause --pause --why="$$WHY"

resume: $(CONSOLE) ## Let backfills go on
	@$(PY) -m console.stack pause --resume

report: $(CONSOLE) ## Print what a run found and where its time went: RUN=its id, DAG=process_media_urgent
	@$(if $(RUN),,$(error RUN must be a run's id, as Airflow shows it: make report RUN=manual__2026…))$(PY) -m console.stack report --dag-id "$(or $(DAG),process_media)" --run-id "$(RUN)"

psql: $(CONSOLE) ## Open the media database
	@$(PY) -m console.stack psql $(ARGS)

gpu: $(CONSOLE) ## Show the GPUs and what stages take of them; OPEN=GPU-…, CLOSE=GPU-… or ROUTE=stage=cpu, with WHY="…"
	@$(PY) -m console.stack gpu $(if $(OPEN),--open="$$OPEN") $(if $(CLOSE),--close="$$CLOSE") \
	  $(if $(ROUTE),--route="$$ROUTE") $(if $(WHY),--why="$$WHY")

images: $(CONSOLE) ## Build the images whose sources changed; VARIANT=cuda for those of a GPU, cpu for no others
	@$(PY) -m console.engine
	@$(PY) -m console.images $(if $(VARIANT),--variant $(VARIANT))

test: $(DEVELOPMENT) images ## Run the tests; ARGS="-k name tests/console" for some
	@$(PY) -m pytest $(ARGS)

simulate-gpu: $(DEVELOPMENT) ## Play with a deployment on simulated GPUs; DO=help says how, DO=down ends it
	@PYTHONPATH=images/base $(PY) -m tests.simulation "$$DO"

check: $(DEVELOPMENT) ## Check types, style, borders between rooms, Dockerfiles and shell scripts; changes nothing
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy $(SOURCES)
	@$(LIST_FILES) 'images/*Dockerfile*' | xargs -r .venv/bin/hadolint
	@$(LIST_FILES) '*.sh' '.ci/run' | xargs -r .venv/bin/shellcheck
	@$(PY) -m pytest --quiet tests/architecture

format: $(DEVELOPMENT) ## Bring Python files into the house's form
	@$(PY) -m ruff check --fix --quiet . || true
	@$(PY) -m ruff format .

docs: $(DEVELOPMENT) ## Write docs/dags.md and docs/database.md anew from the DAGs and the schema
	@AIRFLOW_HOME=$(CURDIR)/build/airflow AIRFLOW__CORE__LOAD_EXAMPLES=False PYTHONPATH=images/base:dags $(PY) -m docs.generate_dags
	@$(PY) -m docs.generate_database

clean: ## Remove what was built here; media, results, databases, images and .env stay
	@if [ -e build/simulation/engine/docker.sock ]; then $(MAKE) --no-print-directory simulate-gpu DO=down; fi
	rm -rf build .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -prune -not -path './data/*' -exec rm -rf {} +

.venv/bin/python:
	@if ! $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null; then \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get -qq update; \
	    if ! apt-cache show python3.11-venv >/dev/null 2>&1; then \
	      echo 'This distribution has no package python3.11-venv. Debian 12 and Ubuntu 22.04 have Python 3.11;' \
	        'elsewhere install it yourself and name it: make PYTHON=/path/to/python3.11' >&2; \
	      exit 1; \
	    fi; \
	    apt-get install -qq --yes --no-install-recommends python3.11-venv; \
	  else \
	    echo 'Python 3.11 with venv is needed: install python3.11-venv (Debian 12 and Ubuntu 22.04 have it),' \
	      'or name one with make PYTHON=/path/to/python3.11' >&2; \
	    exit 1; \
	  fi; \
	fi
	@echo 'make .venv'
	@$(PYTHON) -m venv .venv

$(CONSOLE): console/requirements.txt requirements.txt | .venv/bin/python
	@echo "install the console's libraries"
	@$(PY) -m pip --disable-pip-version-check install --quiet --only-binary :all: --requirement console/requirements.txt --constraint requirements.txt
	@touch $@

$(DEVELOPMENT): requirements.txt requirements-dev.txt $(CONSOLE)
	@echo 'install Airflow and the tools for tests and checks'
	@$(PY) -m pip --disable-pip-version-check install --quiet --only-binary :all: --no-deps --requirement requirements.txt --requirement requirements-dev.txt
	@touch $@
