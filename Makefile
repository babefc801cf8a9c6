# The commands of the project. Needs only make and Python 3.11 to 3.13: the first command creates .venv from the locked
# requirements. Most commands call `python -m embedded`.

SHELL := /bin/sh
VENV := .venv
STAMP := $(VENV)/.up-to-date
# The Python of .venv: the first supported one of these.
PYTHON ?=
CANDIDATES := $(or $(PYTHON),python3 python3.13 python3.12 python3.11)
SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))
RUN := PYTHONPATH="$(CURDIR)/include:$(CURDIR)" $(VENV)/bin/python
EMBEDDED := $(RUN) -m embedded
# `make spark` leaves this file, so that later installations keep pyspark.
SPARK := $(VENV)/.spark
LOCKS := requirements.txt requirements-dev.txt $(if $(wildcard $(SPARK)),requirements-spark.txt)
SYNC := $(VENV)/bin/uv pip sync --quiet --compile-bytecode --python $(VENV)/bin/python --require-hashes \
	--build-constraints requirements-build.txt
LOCK := $(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes $(ARGS)

# Command-line variables (USER='A$B', WHY='say "no"') reach the program unchanged: they are exported without expansion,
# and recipes use "$$WHY", since $(WHY) would become part of the shell command. Values that may begin with - follow = or --.
$(foreach name,$(.VARIABLES),$(if $(filter command line,$(origin $(name))),\
	$(eval override $(name) := $$(value $(name)))$(eval export $(name))))

.DEFAULT_GOAL := help
.PHONY: help run test bench up down status doctor env backfill trigger predict rollback release trust withdraw scores
.PHONY: erase customer reproduce backup restore clean lint audit lock spark secrets prove

help: ## show this list
	@awk 'BEGIN { FS = ":.*## " } /^[a-z]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile
	@echo "Settings (environment): CHURN_HOME, CHURN_POSTGRES, AIRFLOW_PORT, MLFLOW_PORT, SERVING_PORT, PYTHON"

run: $(STAMP) ## start everything and run the chain for every drop [DROPS=directory]
	@$(EMBEDDED) run $(if $(value DROPS),--drops="$$DROPS")

test: $(STAMP) ## run all tests; CHURN_THOROUGH=1 adds more cases to the long ones [ARGS=pytest arguments]
	@$(VENV)/bin/python -m pytest -n 3 --dist loadscope --no-loadscope-reorder $(ARGS)

bench: $(STAMP) ## run the benchmarks and write bench/results [ARGS=--help explains]
	@$(RUN) -m bench $(ARGS)

up: $(STAMP) ## start the services in the background and wait until they are ready
	@$(EMBEDDED) up

down: $(STAMP) ## stop the services
	@$(EMBEDDED) down

status: $(STAMP) ## show the services, their errors, and the state of every AS_OF
	@$(EMBEDDED) status

doctor: $(STAMP) ## check versions, ports, disk, schemas, pools and freshness, with advice
	@$(EMBEDDED) doctor

env: $(STAMP) ## print the settings as KEY=VALUE lines, for export or eval
	@$(EMBEDDED) env

backfill: $(STAMP) ## run the chain for every AS_OF from FROM=date to TO=date
	$(call need,FROM,2024-01-30)
	$(call need,TO,2024-02-29)
	@$(EMBEDDED) backfill -- "$$FROM" "$$TO"

trigger: $(STAMP) ## run the chain for AS_OF=date
	$(call need,AS_OF,2024-01-31)
	@$(EMBEDDED) trigger -- "$$AS_OF"

# USER is in every environment, so only one from the command line counts.
predict: $(STAMP) ## request a prediction for USER=user_id from the running service
	$(if $(filter override,$(origin USER)),,$(error say which: make predict USER=7892-POOKP))
	@$(EMBEDDED) predict -- "$$USER"

scores: $(STAMP) ## show who is most likely to leave at AS_OF=date, and why [TOP=20]
	$(call need,AS_OF,2024-01-31)
	@$(EMBEDDED) scores $(if $(value TOP),--top="$$TOP") -- "$$AS_OF"

rollback: $(STAMP) ## move the previous version or VERSION=n to Production, pinned until release [WHY=reason]
	@$(EMBEDDED) rollback $(if $(value VERSION),--version="$$VERSION") $(if $(value WHY),--why="$$WHY")

release: $(STAMP) ## let the gate move Production again after a rollback [WHY=reason]
	@$(EMBEDDED) release $(if $(value WHY),--why="$$WHY")

trust: $(STAMP) ## let serving and the gate load VERSION=n, registered by hand, WHY=reason
	$(call need,VERSION,7)
	$(call need,WHY,'trained by ada in a notebook')
	@$(EMBEDDED) trust --why="$$WHY" -- "$$VERSION"

withdraw: $(STAMP) ## withdraw the drop of AS_OF=date, as if it had never arrived, WHY=reason
	$(call need,AS_OF,2024-01-31)
	$(call need,WHY,'the fees are in cents')
	@$(EMBEDDED) withdraw --why="$$WHY" -- "$$AS_OF"

# As with predict, USER counts from the command line only.
erase: $(STAMP) ## remove customer USER=user_id, or those of USERS=file, everywhere, WHY=reason
	$(if $(filter override,$(origin USER))$(value USERS),,$(error say which: make erase USER=7892-POOKP WHY='asked by letter'))
	$(if $(filter override,$(origin USER)),$(if $(value USERS),$(error say either USER or USERS)))
	$(call need,WHY,'asked by letter')
	@$(EMBEDDED) erase --why="$$WHY" $(if $(value USERS),--users="$$USERS",--user="$$USER")

customer: $(STAMP) ## print what is held of customer USER=user_id, as JSON
	$(if $(filter override,$(origin USER)),,$(error say which: make customer USER=7892-POOKP))
	@$(EMBEDDED) customer -- "$$USER"

reproduce: $(STAMP) ## train VERSION=n again from the archive and compare it bit for bit
	$(call need,VERSION,3)
	@$(EMBEDDED) reproduce -- "$$VERSION"

backup: $(STAMP) ## back up the databases, models and archived drops of the running stack to TO=directory
	$(call need,TO,/backups/2024-02-01)
	@$(EMBEDDED) backup -- "$$TO"

restore: $(STAMP) ## restore the backup FROM=directory into an empty CHURN_HOME; make up starts it
	$(call need,FROM,/backups/2024-02-01)
	@$(EMBEDDED) restore -- "$$FROM"

clean: $(STAMP) ## stop the services and delete their state (databases, models, drops, logs)
	@$(EMBEDDED) clean

secrets: ## create .env for docker-compose.airflow.yml with random secrets, unless it exists
	@python3 containers/env_file.py

prove: $(STAMP) ## test docker-compose.airflow.yml end to end with docker or podman [ARGS=--help explains]
	@$(RUN) -m containers.prove $(ARGS)

lint: $(STAMP) ## run ruff and mypy
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy

audit: $(STAMP) ## report known vulnerabilities of the locked packages; skipped when OSV is unreachable
	@$(VENV)/bin/python .ci/audit.py $(ARGS)

lock: $(STAMP) ## resolve requirements*.in into the locked requirements*.txt [ARGS=--upgrade]
	$(LOCK) requirements.in -o requirements.txt
	$(LOCK) requirements-dev.in -o requirements-dev.txt
	$(LOCK) serving/requirements.in --override serving/overrides.txt -o serving/requirements.txt
	$(LOCK) $(addprefix --no-emit-package ,$(IN_MAIN_LOCK)) requirements-spark.in -o requirements-spark.txt
	$(LOCK) requirements-build.in -o requirements-build.txt

# What Spark shares with requirements.txt, at the versions there.
IN_MAIN_LOCK := googleapis-common-protos grpcio protobuf typing-extensions

spark: $(STAMP) ## install pyspark too, for CHURN_OFFLINE=spark; needs Java 17
	@$(SYNC) requirements.txt requirements-dev.txt requirements-spark.txt
	@touch $(SPARK)

need = $(if $(value $(1)),,$(error say which: make $@ $(1)=$(2)))

# pip installs uv, pinned and hashed by the lock; uv installs the rest in seconds. Bytecode is compiled here, as otherwise
# all services would compile the same libraries at their first start.
$(STAMP): $(LOCKS) | $(VENV)/bin/python
	@echo "installing the locked requirements into $(VENV)"
	@test -x $(VENV)/bin/uv || { \
		$(VENV)/bin/python -m ensurepip >/dev/null && \
		sed -n '/^uv==/,/[^\\]$$/p' requirements-dev.txt >$(VENV)/uv.txt && \
		$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(VENV)/uv.txt; }
	@$(SYNC) $(LOCKS)
	@touch $@

$(VENV)/bin/python:
	@for python in $(CANDIDATES); do \
		if "$$python" -c '$(SUPPORTED)' 2>/dev/null; then \
			echo "creating $(VENV) with $$("$$python" --version)"; exec "$$python" -m venv --clear $(VENV); \
		fi; \
	done; \
	echo "Python 3.11, 3.12 or 3.13 is needed to create $(VENV); tried: $(CANDIDATES)." >&2; \
	echo "Install one of them, or name it: make PYTHON=/path/to/python3.12 …" >&2; exit 1
