# Two commands do all the set-up: `make demo` runs the main job, `make test` passes the tests.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test lint oracles symmetrix clean

demo: $(VENV)/.demo
	$(BIN)/python examples/demo.py

test: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pytest -n 2 --dist loadfile

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy compiler

# The programs that ours is measured against, each in its own environment: their answers are made anew and
# compared with those that the tests hold. benchmarks/speed*.py run them, too.
oracles: .venv-mace/.installed .venv-nequip/.installed .venv-allegro/.installed \
		.venv-deepmd/.installed .venv-pet/.installed .venv-symmetrix/.installed $(VENV)/.test
	mkdir -p build/oracles
	.venv-mace/bin/python -W ignore tests/oracles/mace/make_golden.py build/oracles/mace.npz \
		--compare tests/oracles/mace/golden.npz
	.venv-nequip/bin/python -W ignore tests/oracles/nequip/make_golden.py build/oracles/nequip.npz \
		--compare tests/oracles/nequip/golden.npz
	.venv-allegro/bin/python -W ignore tests/oracles/allegro/make_golden.py build/oracles/allegro.npz \
		--compare tests/oracles/allegro/golden.npz
	.venv-deepmd/bin/python -W ignore tests/oracles/deepmd/make_golden.py build/oracles/deepmd.npz \
		--compare tests/oracles/deepmd/golden.npz
	.venv-pet/bin/python -W ignore tests/oracles/pet/make_golden.py build/oracles/pet.npz \
		--compare tests/oracles/pet/golden.npz
	EQUIC_MACE_PYTHON=.venv-mace/bin/python $(BIN)/pytest tests/journey/test_import.py

# symmetrix is built from its repository (the index has a placeholder), for benchmarks/speed_symmetrix.py
symmetrix: .venv-symmetrix-origin/.installed
	benchmarks/peers/build_symmetrix.sh .venv-symmetrix-origin build/peers/symmetrix-source

# torch first, as in the other environments: what follows then finds it there
.venv-%/.installed: tests/oracles/%/requirements.txt
	test -x .venv-$*/bin/python || $(PYTHON) -m venv .venv-$*
	.venv-$*/bin/pip install -q $$(grep '^torch==' $<)
	.venv-$*/bin/pip install -q -r $<
	@touch $@

$(VENV)/.torch: constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q -c constraints.txt torch
	@touch $@

$(VENV)/.demo: $(VENV)/.torch pyproject.toml
	$(BIN)/pip install -q -c constraints.txt -e .
	@touch $@

$(VENV)/.test: $(VENV)/.torch pyproject.toml
	$(BIN)/pip install -q -c constraints.txt -e ".[data,test]"
	@touch $@ $(VENV)/.demo

clean:
	rm -rf $(VENV) .venv-mace .venv-nequip .venv-allegro .venv-deepmd .venv-pet .venv-symmetrix \
		.venv-symmetrix-origin build runs
