# Everything a newcomer needs: `make demo` and `make test`. Both make .venv first.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.DEFAULT_GOAL := help
.PHONY: help install demo nnunet viz lineage mlflow test test-slow faults benchmarks lint docs constraints audit

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(f"Python 3.11 or newer is needed; {sys.executable} is {v[0]}.{v[1]}. Try: make PYTHON=python3.11 ...") if v < (3, 11) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -e ".[dev]"
	@touch $(STAMP)

install: $(STAMP)  ## make .venv and install the project with its development tools

# What `kedro run` trains besides takes another half hour.
LEFT_OUT := study.*,baseline.*,pretrain.nnunet,pretrain.stunet,transfer.*.nnunet.*,transfer.*.epoch20,transfer.*.epoch50,ablation.pancreas*,ablation.tumour_sets*,ablation.leakage_free*

demo: $(STAMP)  ## the road on synthetic data: pool, pre-training, transfer, ablation, tables
	$(BIN)/kedro run --params 'experiments.left_out=[$(LEFT_OUT)]'
	@echo
	@echo "Left out: $(LEFT_OUT)"
	@echo "          $(BIN)/kedro run goes on with the tables' other systems"
	@echo
	@echo "Tables:   data/08_reporting/phantom/latest/: report.html, report.md, tables.tex, ..."
	@echo "Lineage:  make viz      then open http://127.0.0.1:4141"
	@echo "Runs:     make mlflow   then open the address that it prints: Dice over epochs of all trainings"

viz: $(STAMP)  ## lineage page
	$(BIN)/kedro viz run --no-browser

lineage: $(STAMP)  ## lineage page as files, to be given away: lineage/index.html
	rm -rf lineage build
	$(BIN)/kedro viz build --include-previews
	mv build lineage
	@echo "A browser shows it from a server: $(PYTHON) -m http.server --directory lineage"

mlflow: $(STAMP)  ## page of all runs; prints the address of their charts
	@$(BIN)/python -m tsfm_pipeline.tracking
	$(BIN)/mlflow ui --backend-store-uri sqlite:///mlflow.db --workers 1

nnunet:  ## make .venv-nnunet, where the real nnU-Net v2 runs (several GB; docs/nnunetv2.md)
	test -x .venv-nnunet/bin/python || $(PYTHON) -m venv .venv-nnunet
	.venv-nnunet/bin/python -m pip install --quiet --upgrade pip
	.venv-nnunet/bin/python -m pip install --quiet "nnunetv2>=2.8,<3" "torch>=2.8,<2.14"
	.venv-nnunet/bin/python -c "from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer; import timm"

# Two processes, a test file each at a time: alone, one core of two idles.
test: $(STAMP)  ## all tests that end within minutes
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-slow: $(STAMP)  ## full-scale checks
	$(BIN)/python -m pytest -m slow

faults: $(STAMP)  ## kills, full disks, flipped bytes ...: the table of docs/reliability.md (1.5 hours)
	$(BIN)/python -m tests.faults

benchmarks: $(STAMP)  ## every figure of the docs that takes minutes: docs/benchmarks.md (20 minutes, quiet)
	$(BIN)/python benchmarks/run.py

lint: $(STAMP)  ## style, types and the layers of the package
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(STAMP)  ## the documentation as a site: site/index.html
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

constraints: $(STAMP)  ## write the versions in .venv, as known to be good, to constraints.txt
	$(BIN)/python -m pip freeze --exclude-editable > constraints.txt

audit:  ## look the versions of constraints.txt up among known vulnerabilities (docs/security.md)
	test -x .venv-audit/bin/pip-audit || ($(PYTHON) -m venv .venv-audit && .venv-audit/bin/python -m pip install --quiet pip-audit)
	.venv-audit/bin/pip-audit --strict --requirement constraints.txt --no-deps --disable-pip
