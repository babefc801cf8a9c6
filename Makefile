# The commands of the project. Needs make and Python 3.11 to 3.13, nothing else: the first command makes .venv from the
# locked requirements, later ones find it up to date. Everything else is `python -m embedded`.

SHELL := /bin/sh
VENV := .venv
STAMP := $(VENV)/.up-to-date
# The Python to make .venv with: the first of these that is new enough and not too new.
PYTHON ?=
CANDIDATES := $(or $(PYTHON),python3 python3.13 python3.12 python3.11)
SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))
RUN := PYTHONPATH="$(CURDIR)/include:$(CURDIR)" $(VENV)/bin/python
EMBEDDED := $(RUN) -m embedded
LOCK := $(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes $(ARGS)

# What was typed (USER='A$B', WHY='say "no"') reaches the program as it is. Make would expand a $ in it, so it is made plain
# text here, and exported. A recipe names it as "$$WHY", which the shell takes from the environment: as $(WHY) it would be
# a part of the shell's command. What may begin with a - stands behind = or --.
$(foreach name,$(.VARIABLES),$(if $(filter command line,$(origin $(name))),\
	$(eval override $(name) := $$(value $(name)))$(eval export $(name))))

.DEFAULT_GOAL := help
.PHONY: help run test bench up down status doctor env backfill trigger predict rollback release trust withdraw
.PHONY: reproduce backup restore clean lint audit lock secrets prove

help: ## this list
	@awk 'BEGIN { FS = ":.*## " } /^[a-z]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile
	@echo "Settings (environment): CHURN_HOME, CHURN_POSTGRES, AIRFLOW_PORT, MLFLOW_PORT, SERVING_PORT, PYTHON"

run: $(STAMP) ## start everything and run the chain over every drop [DROPS=directory]
	@$(EMBEDDED) run $(if $(value DROPS),--drops="$$DROPS")

test: $(STAMP) ## all tests; with CI=true every case of the long ones [ARGS=pytest's arguments]
	@$(VENV)/bin/python -m pytest -n 3 --dist loadscope --no-loadscope-reorder $(ARGS)

bench: $(STAMP) ## the benchmarks, naive beside ours, into bench/results [ARGS=--help explains]
	@$(RUN) -m bench $(ARGS)

up: $(STAMP) ## start the services in the background and wait until they are ready
	@$(EMBEDDED) up

down: $(STAMP) ## stop the services
	@$(EMBEDDED) down

status: $(STAMP) ## the services, what is wrong with them, and the state of every AS_OF
	@$(EMBEDDED) status

doctor: $(STAMP) ## check versions, ports, disk, schemas, pools, freshness, and say what to do
	@$(EMBEDDED) doctor

env: $(STAMP) ## the settings as KEY=VALUE lines, for export or eval
	@$(EMBEDDED) env

backfill: $(STAMP) ## the whole chain for every AS_OF of FROM=date TO=date
	$(call need,FROM,2024-01-30)
	$(call need,TO,2024-02-29)
	@$(EMBEDDED) backfill -- "$$FROM" "$$TO"

trigger: $(STAMP) ## the whole chain for AS_OF=date
	$(call need,AS_OF,2024-01-31)
	@$(EMBEDDED) trigger -- "$$AS_OF"

# USER is in every environment: only one that was typed here counts.
predict: $(STAMP) ## ask the running service about USER=user_id
	$(if $(filter override,$(origin USER)),,$(error say which: make predict USER=7892-POOKP))
	@$(EMBEDDED) predict -- "$$USER"

rollback: $(STAMP) ## the version before, or VERSION=n, into Production, pinned until release [WHY=reason]
	@$(EMBEDDED) rollback $(if $(value VERSION),--version="$$VERSION") $(if $(value WHY),--why="$$WHY")

release: $(STAMP) ## let the gate move Production again after a rollback [WHY=reason]
	@$(EMBEDDED) release $(if $(value WHY),--why="$$WHY")

trust: $(STAMP) ## let VERSION=n, registered by hand, be loaded by serving and the gate, WHY=reason
	$(call need,VERSION,7)
	$(call need,WHY,'trained by ada in a notebook')
	@$(EMBEDDED) trust --why="$$WHY" -- "$$VERSION"

withdraw: $(STAMP) ## take the drop of AS_OF=date back, as if it had never come, WHY=reason
	$(call need,AS_OF,2024-01-31)
	$(call need,WHY,'the fees are in cents')
	@$(EMBEDDED) withdraw --why="$$WHY" -- "$$AS_OF"

reproduce: $(STAMP) ## make VERSION=n again from the archive: equal to the bit, or what differs first
	$(call need,VERSION,3)
	@$(EMBEDDED) reproduce -- "$$VERSION"

backup: $(STAMP) ## the databases, models and archived drops of the running stack into TO=directory
	$(call need,TO,/backups/2024-02-01)
	@$(EMBEDDED) backup -- "$$TO"

restore: $(STAMP) ## the backup FROM=directory into an empty CHURN_HOME; make up starts it
	$(call need,FROM,/backups/2024-02-01)
	@$(EMBEDDED) restore -- "$$FROM"

clean: $(STAMP) ## stop the services and remove their state (databases, models, drops, logs)
	@$(EMBEDDED) clean

secrets: ## a fresh .env for docker-compose.airflow.yml, with strong random values; one that is there stays
	@python3 containers/env_file.py

prove: $(STAMP) ## docker-compose.airflow.yml in containers, for real, with docker or podman [ARGS=--help explains]
	@$(RUN) -m containers.prove $(ARGS)

lint: $(STAMP) ## ruff and mypy
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy

audit: $(STAMP) ## known vulnerabilities of what the locks install; says so where OSV cannot be reached
	@$(VENV)/bin/python .ci/audit.py $(ARGS)

lock: $(STAMP) ## resolve requirements*.in into the locked requirements*.txt [ARGS=--upgrade]
	$(LOCK) requirements.in -o requirements.txt
	$(LOCK) requirements-dev.in -o requirements-dev.txt
	$(LOCK) serving/requirements.in --override serving/overrides.txt -o serving/requirements.txt

need = $(if $(value $(1)),,$(error say which: make $@ $(1)=$(2)))

# pip brings uv, pinned and hashed by the lock; uv brings the rest in seconds instead of minutes. Without compiling
# now, every service would compile the same libraries at its first start, all at once.
$(STAMP): requirements.txt requirements-dev.txt | $(VENV)/bin/python
	@echo "installing the locked requirements into $(VENV)"
	@test -x $(VENV)/bin/uv || { \
		$(VENV)/bin/python -m ensurepip >/dev/null && \
		sed -n '/^uv==/,/[^\\]$$/p' requirements-dev.txt >$(VENV)/uv.txt && \
		$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(VENV)/uv.txt; }
	@$(VENV)/bin/uv pip sync --quiet --compile-bytecode --python $(VENV)/bin/python --require-hashes \
		requirements.txt requirements-dev.txt
	@touch $@

$(VENV)/bin/python:
	@for python in $(CANDIDATES); do \
		if "$$python" -c '$(SUPPORTED)' 2>/dev/null; then \
			echo "making $(VENV) with $$("$$python" --version)"; exec "$$python" -m venv --clear $(VENV); \
		fi; \
	done; \
	echo "Python 3.11, 3.12 or 3.13 is needed to make $(VENV); tried: $(CANDIDATES)." >&2; \
	echo "Install one of them, or name it: make PYTHON=/path/to/python3.12 …" >&2; exit 1
