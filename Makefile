# Only Python 3.10 or later with venv, and make, are needed. Each target builds .venv if there is none.

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
# Files of the demo and of `docs`. Those that did not exist before are listed in .demo, and `clean` removes only these.
DEMO := exports/figures-64.png datasets/figures datasets/figures.png runs/quickstart exports/phone exports/demo.json \
  exports/demo.png

.PHONY: demo test weights slowtest docs fuzz lint clean
.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 10

$(VENV)/.installed: setup.py pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "make: $(PYTHON) is older than Python 3.10; name a newer one: make PYTHON=python3.11 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check --editable '.[dev]' \
	  --config-settings editable_mode=compat
	@touch $@

demo: $(VENV)/.installed ## change clothes with a preset; then train a model (some minutes) and export it for phones
	@for path in $(DEMO); do test -e $$path || echo $$path >> .demo; done
	$(RUN) -m vunet_tf.generate transfer --run_dir=figures-64 --appearances=valid:17,13,5,8,14,20 \
	  --shapes=valid:0,3,16,6,12,2,13,23 --out=exports/figures-64.png
	@echo
	@echo "exports/figures-64.png: a model that comes with the package changed clothes (rows: clothes, columns: poses)."
	@echo "Now another model is trained, which takes some minutes. Ctrl-C stops it; make demo goes on with it."
	@echo
	test -d datasets/figures || $(RUN) -m vunet_tf.prepare --source=figures --output=datasets/figures --image_size=64
	$(RUN) -m vunet_tf.prepare --preview=datasets/figures --out=datasets/figures.png
	$(RUN) -m vunet_tf.train --flagfile=configs/quickstart.flags
	$(RUN) -m export.tflite --run_dir=runs/quickstart --out=exports/phone
	$(RUN) -m export.verify --run_dir=runs/quickstart --examples=30 --seconds=0 --out=exports/demo exports/phone
	@echo
	@echo "Look at these: runs/quickstart/pictures (rows: clothes, columns: poses), exports/demo.png (what phones draw)."
	@echo "Drag a skeleton in the browser: $(RUN) -m export.web --run_dir=figures-64 --out=site --open"
	@echo "(or --run_dir=runs/quickstart, the model that was just trained)."
	@echo "Then read docs/generate.md, or train on pictures of your own (docs/data.md)."

test: $(VENV)/.installed ## run the tests
	$(RUN) -m pytest --numprocesses=2 --dist=loadgroup --no-loadscope-reorder

weights: $(VENV)/.installed ## download the weights of the pose estimator, for photographs without keypoints
	$(RUN) -m vunet_tf.estimate get

slowtest: $(VENV)/.installed ## run what takes long: kill every command twenty times, learn eight figures, install a wheel
	$(RUN) -m pytest -m slow
	$(RUN) -m tests.faults

docs: $(VENV)/.installed ## build the site of the documents and of the Python API: build/site/index.html
	@for path in build/documents build/site .cache; do test -e $$path || echo $$path >> .demo; done
	$(RUN) docs/website.py

fuzz: $(VENV)/.installed ## try hostile and broken input on every reader, for ten minutes (docs/trust.md)
	$(RUN) -m tests.fuzz --seconds=600

lint: $(VENV)/.installed ## check style, formatting and types
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

clean: ## remove the virtual environment and what the demo and the site made, nothing else
	@for path in $(VENV) *.egg-info $$(cat .demo 2>/dev/null | sort -u) .demo; do \
	  test ! -e $$path || { echo "removing $$path"; rm -rf $$path; }; \
	done
