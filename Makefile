.DEFAULT_GOAL := help
.PHONY: help run stop test check check-boards docs format lock clean install spark onnx lineage objects production-test sbom audit bench-drift bench-features bench-ingest bench-loop bench-models bench-own bench-replay bench-serving bench-spark bench-start bench-volume

ROWS ?= 300000 3000000
ROUNDS ?= 5
DAYS ?= 30
MODELS ?= 10 100 1000
BASE ?= c57b43e

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
UV := $(shell command -v uv 2>/dev/null || echo $(BIN)/uv)

help:  ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# The last step leaves bytecode of what every task and command imports. uv makes none, and where Python is told to write
# none, as in many containers, each process would compile its libraries again: two thirds of a command's start.
$(READY): locks/default.txt locks/uv.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Evergreen needs Python 3.11 to 3.13; make PYTHON=python3.11 names one") if not (3,11) <= sys.version_info < (3,14) else 0'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@command -v uv >/dev/null || test -x $(BIN)/uv || $(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r locks/uv.txt
	@echo "Installing the locked dependencies ..."
	@VIRTUAL_ENV=$(VENV) $(UV) pip sync -q --require-hashes locks/default.txt
	@VIRTUAL_ENV=$(VENV) $(UV) pip install -q --no-deps --no-build-isolation -e .
	@env -u PYTHONDONTWRITEBYTECODE PYTHONPATH=.:plugins $(BIN)/python plugins/airflow_local_settings.py scheduler
	@$(BIN)/python -m compileall -q -j 0 $(VENV)/lib/python*/site-packages/airflow
	@touch $@

install: $(READY)  ## install the locked dependencies into .venv

run: $(READY)  ## start everything and play three months of real flights through the loop; MODEL=NAME plays another model's
	@$(BIN)/evergreen tour $(MODEL)

stop:  ## stop exactly what `make run` started
	@test ! -x $(BIN)/evergreen || $(BIN)/evergreen stop

# Threads that wait must not spin: tests, like tasks, share the processors with others. Bytecode, see above.
test: $(READY)  ## run every test, a worker per processor; ARGS="tests/unit/gate" runs one room's
	@env -u PYTHONDONTWRITEBYTECODE OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest $(or $(ARGS),-n auto --dist loadfile --no-loadscope-reorder)

# An own environment of the production lock is made below the temporary folder, and goes with it.
production-test: $(READY)  ## run what docker-compose.yml declares as processes, and kill each part of it under load
	@$(BIN)/python -m tests.production

check: $(READY)  ## lock, format, lint, types, imports
	@$(COMPILE) --group dev -o locks/default.txt && git diff --exit-code --stat locks
	@$(COMPILE) --extra production -c locks/default.txt -o locks/production.txt && git diff --exit-code --stat locks
	@$(COMPILE_GROUP) --group objects -o locks/objects.txt && git diff --exit-code --stat locks
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@PYTHONPATH=plugins $(BIN)/lint-imports

check-boards: $(READY)  ## Grafana's dashboards against the types that it publishes; needs Node and npm
	@$(BIN)/python observability/grafana/check.py

bench-ingest: $(READY)  ## ingest against pandas, side by side; ROWS="300000 3000000 30000000" sizes it
	@$(BIN)/python -m benchmarks.ingest --rows $(ROWS)

bench-features: $(READY)  ## joins, materialization and online reads against stock Feast; JOINS="--labels 5000 ..." sizes it
	@$(BIN)/python -m benchmarks.historical $(JOINS)
	@$(BIN)/python -m benchmarks.materialize $(ONLINE)

bench-drift: $(READY)  ## drift of many rows against Evidently, and ten million rows of 200 columns; DRIFT="--rows 300000 --large 0"
	@$(BIN)/python -W ignore -m benchmarks.drift $(DRIFT)

bench-loop: $(READY)  ## landed files to the new champion served, another commit against this one; ROUNDS=5 BASE=c57b43e
	@$(BIN)/python -m benchmarks.loop --rounds $(ROUNDS) --base $(BASE) $(LOOP)

bench-volume: $(READY)  ## days of flights through ingestion, features and drift, in sizes, beside pandas; ROWS="300000 1000000 3000000" VOLUME="--base abde78b"
	@$(BIN)/python -m benchmarks.volume $(if $(filter file,$(origin ROWS)),,--rows $(ROWS)) $(VOLUME)

bench-replay: $(READY)  ## thirty days of the loop as the tools' tutorials write it, against ours; DAYS=30 REPLAY="--fresh --before 31"
	@$(BIN)/python -m benchmarks.replay --days $(DAYS) $(REPLAY)

bench-models: $(READY)  ## the catalog and Airflow's DAG files with many models, one of them broken; MODELS="10 100 1000"
	@$(BIN)/python -m benchmarks.many_models --models $(MODELS)

bench-serving: $(READY)  ## answers a second of another commit, this one and the stock ways; SERVING="--home var --base c57b43e"
	@$(BIN)/python -m benchmarks.serving $(SERVING)

bench-spark: $(READY)  ## a view and a join on DuckDB and on Spark, every value compared; SPARK="--sizes 100000 --master spark://..."
	@$(BIN)/python -m benchmarks.spark $(SPARK)

bench-start: $(READY)  ## how long a command takes to start; START="--home var --against ../other/.venv/bin/evergreen"
	@$(BIN)/python -m benchmarks.start $(START)

bench-own: $(READY)  ## own tables, from a file to a verdict; OWN="data.csv wine.csv=--positive=1" names them
	@$(BIN)/python -m benchmarks.own_models $(OWN)

spark: $(READY)  ## add what runs the features on Spark; it needs Java 17
	@VIRTUAL_ENV=$(VENV) $(UV) pip install -q --require-hashes -r locks/spark.txt

onnx: $(READY)  ## add what makes ONNX files of models, and runs them
	@VIRTUAL_ENV=$(VENV) $(UV) pip install -q --require-hashes -r locks/onnx.txt

lineage: $(READY)  ## add what tells OpenLineage which data each task read and wrote
	@VIRTUAL_ENV=$(VENV) $(UV) pip install -q --require-hashes -r locks/lineage.txt

objects: $(READY)  ## add SeaweedFS, the object store that tests and proofs start
	@VIRTUAL_ENV=$(VENV) $(UV) pip install -q --require-hashes -r locks/objects.txt

AUDIT := $(VENV)/audit
$(AUDIT)/.ready: locks/audit.txt $(READY)
	@$(UV) venv -q --clear -p $(BIN)/python $(AUDIT)
	@$(UV) pip sync -q --require-hashes --python $(AUDIT)/bin/python locks/audit.txt
	@touch $@

sbom: $(AUDIT)/.ready  ## what each lock pins, as CycloneDX in var/sbom
	@$(AUDIT)/bin/python -m supply_chain.sbom --python $(BIN)/python --python $(AUDIT)/bin/python --out var/sbom $(SBOM)

audit: $(AUDIT)/.ready  ## the locks against public advisories; it fails where it could not look. WHERE="--service pypi"
	@$(AUDIT)/bin/python -m supply_chain.audit $(WHERE)

docs: $(READY)  ## write docs/reference/ anew from types, settings and commands
	@$(BIN)/python -m docs.generator

format: $(READY)  ## format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

COMPILE_GROUP = $(UV) pip compile -q --universal --generate-hashes --no-header --no-annotate -p 3.11
COMPILE = $(COMPILE_GROUP) pyproject.toml
lock:  ## renew the locks after a change of pyproject.toml
	$(COMPILE) --group dev -o locks/default.txt
	$(COMPILE) --extra production -c locks/default.txt -o locks/production.txt
	$(COMPILE) --extra spark -c locks/default.txt -o locks/spark.txt
	$(COMPILE) --extra onnx -c locks/default.txt -o locks/onnx.txt
	$(COMPILE) --extra lineage -c locks/default.txt -o locks/lineage.txt
	$(COMPILE_GROUP) --group manifests -c locks/default.txt -o locks/manifests.txt
	$(COMPILE_GROUP) --group objects -o locks/objects.txt
	$(COMPILE_GROUP) --group audit -o locks/audit.txt
	grep -A200 '^uv==' locks/default.txt | awk 'NR==1 || /^ /{print; next} {exit}' > locks/uv.txt

clean: stop  ## stop, and remove all state
	rm -rf var
