# make run: the whole path on real digits.   make test: every check that this machine can run.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/ready
MNISTKIT := $(BIN)/mnistkit
RUN    := runs/digits
OUT    := out/run

.PHONY: setup run test docs mutants lint bench verify-avx2 test-old-onnx test-gpu clean
.DEFAULT_GOAL := help
help:
	@echo "make setup | run | test | docs | mutants | lint | bench | verify-avx2 | test-old-onnx | test-gpu | clean   (see README.md)"

setup: $(READY)
	@$(BIN)/python -m mnistkit.native

# uv where it installs, pip where it does not; versions come from constraints.txt.
$(READY): pyproject.toml constraints.txt CMakeLists.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv || echo "uv cannot be installed here: using pip"
	if [ -x $(BIN)/uv ]; then \
	  $(BIN)/uv pip install --python $(BIN)/python -c constraints.txt -e ".[dev]"; \
	else \
	  $(BIN)/python -m pip install -c constraints.txt -e ".[dev]"; \
	fi
	touch $@

# The pretrained net where MNIST can be had; without it, a net trained here on scikit-learn's scans.
run: setup
	@if $(BIN)/python -c "from mnistkit.data.sets import resolve as r; exit(r('auto') != 'mnist')"; then \
	  echo "== export the pretrained net"; \
	  $(MNISTKIT) export base --all --out $(OUT) --force; \
	else \
	  echo "== train on scikit-learn's digits" && rm -rf $(RUN) && \
	  $(MNISTKIT) train --dataset digits --out $(RUN) && \
	  $(MNISTKIT) export $(RUN) --all --out $(OUT) --force; \
	fi
	@echo "== verify: do all runtimes agree?"
	@$(MNISTKIT) verify $(OUT) --json $(OUT)/verify.json
	@echo "== bench: how fast is each?"
	@$(MNISTKIT) bench $(OUT) --duration 0.5 --json $(OUT)/bench.json --plot $(OUT)/bench.png
	@echo "== models, figures and plot:" && ls -l $(OUT)

test: setup lint
	$(BIN)/python -m pytest -n auto

# The site, into build/site; a broken link is an error.
docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# One fault at a time in a copy, and the tests that must find it (docs/explanations/testing.md).
mutants: setup
	PYTHONPATH=tests $(BIN)/python -m mutants $(if $(ONLY),--only $(ONLY)) $(if $(JOBS),--jobs $(JOBS))

lint: $(READY)
	$(BIN)/ruff format --check python export tests
	$(BIN)/ruff check python export tests
	git ls-files -co --exclude-standard '*.cpp' '*.hpp' '*.h' '*.c' | xargs -r $(BIN)/clang-format --dry-run --Werror
	mkdir -p build/lint && rm -rf build/lint/mnistkit && mkdir build/lint/mnistkit
	ln -s $(CURDIR)/python/mnistkit/* $(CURDIR)/export build/lint/mnistkit/
	cd build/lint && $(CURDIR)/$(BIN)/mypy --config-file $(CURDIR)/pyproject.toml -p mnistkit

# All test images through the package's int8 nets, every runtime held to AVX2 (ten minutes).
verify-avx2: setup
	$(BIN)/python tests/cpu_levels.py avx2 base small nano ref-10066 ref-16626 ref-18738 ref-19712

# The ONNX files in the ONNX Runtimes of past years, each with a Python of its time if there is one.
test-old-onnx: setup
	$(BIN)/python tests/old_onnx.py

bench: setup
	$(BIN)/python tests/bench/training_overhead.py
	$(MNISTKIT) export --all --out out/bench --force
	$(MNISTKIT) bench out/bench --json out/bench/bench.json --plot out/bench/bench.png

test-gpu: setup
	$(BIN)/python -m pytest tests/gpu -m gpu

clean:
	rm -rf build dist out .pytest_cache .mypy_cache .ruff_cache $(VENV)
