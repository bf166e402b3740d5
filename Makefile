# Two commands matter: `make run` (the main job) and `make test`. Both install what they need.

PYTHON    ?= $(shell command -v python3.11 || command -v python3)
VENV      := .venv
BIN       := $(VENV)/bin
PORT      ?= 8000
ADMIN_PORT ?= 8001
DATA_DIR  ?= .sedp
NAME      ?= engine

export PORT ADMIN_PORT
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.DEFAULT_GOAL := help
.PHONY: help run demo-data replay test histories crash damage power-cut syscall-faults lint format bench
.PHONY: workers readers cache overload slow-clients reloads soak leavers hostile hostile-full schema clean

help:  ## list the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

run: $(VENV)/installed-demo  ## get the data, train, fill the store, serve promo-rank (PORT, ADMIN_PORT, DATA_DIR)
	@$(BIN)/sedp demo prepare --data-dir "$(DATA_DIR)"
	@DATA_DIR="$(abspath $(DATA_DIR))" exec $(BIN)/sedp serve configs/promo-rank.yaml

demo-data: $(VENV)/installed-demo  ## only prepare the demo's data, model and store
	@$(BIN)/sedp demo prepare --data-dir "$(DATA_DIR)"

replay: $(VENV)/installed-demo  ## replay the test weeks against the running daemon
	@$(BIN)/sedp replay --url http://127.0.0.1:$(PORT) --recording "$(DATA_DIR)/recording.npz" \
		--weeks 48-53 --rate 300 --html "$(DATA_DIR)/replay.html"

test: $(VENV)/installed-dev  ## run the test suite
	@$(BIN)/python -m pytest

histories: $(VENV)/installed-dev  ## HISTORIES=500 random histories of the store against a model
	@SEDP_HISTORIES=$(or $(HISTORIES),500) $(BIN)/python -m pytest --timeout 0 tests/storage/test_history.py

readers: $(VENV)/installed-dev  ## READERS=100 readers come and go beside a writer that publishes all the time
	@SEDP_READERS=$(or $(READERS),100) $(BIN)/python -m pytest --timeout 0 tests/storage/test_busy_writer.py

cache: $(VENV)/installed-dev  ## CASES=1000000 candidates through small tables of cached scores against a model
	@SEDP_CACHE_CASES=$(or $(CASES),1000000) \
		$(BIN)/python -m pytest --timeout 0 tests/stages/test_query_cache_histories.py

crash: $(VENV)/installed-dev  ## kill a writing process KILLS=1000 times, and look what is left
	@SEDP_KILLS=$(or $(KILLS),1000) SEDP_SEED=$(or $(SEED),0) $(BIN)/python -m pytest tests/faults/test_kills.py

power-cut: $(VENV)/installed-dev  ## cut the power CUTS=20 times a file system (root, Linux, xfsprogs)
	@SEDP_CUTS=$(or $(CUTS),20) SEDP_SEED=$(or $(SEED),0) $(BIN)/python -m pytest tests/faults/test_power_cut.py

damage: $(VENV)/installed-dev  ## flip FLIPS=1000 bits of each cold tier, overwrite pages, cut files short
	@SEDP_FLIPS=$(or $(FLIPS),1000) SEDP_SEED=$(or $(SEED),0) \
		$(BIN)/python -m pytest --timeout 0 tests/faults/test_corruption.py

syscall-faults: $(VENV)/installed-dev  ## let system calls fail at FAULTS=2000 points (libfiu)
	@SEDP_FAULTS=$(or $(FAULTS),2000) SEDP_SEED=$(or $(SEED),0) $(BIN)/python -m pytest tests/faults/test_syscalls.py

workers: $(VENV)/installed-dev  ## kill KILLS=50 workers, replace all ROLLS=10 times, reload RELOADS=100 times, under load
	@SEDP_KILLS=$(or $(KILLS),50) SEDP_ROLLS=$(or $(ROLLS),10) SEDP_RELOADS=$(or $(RELOADS),100) SEDP_PAUSE_S=0 \
		SEDP_ANSWERS=50000 SEDP_REPLACED_S=2 $(BIN)/python -m pytest -s --timeout 0 tests/supervisor/test_workers.py \
		tests/supervisor/test_grpc_workers.py

slow-clients: $(VENV)/installed-dev  ## 540 slow clients come and go ROUNDS=10 times; what others wait
	@SEDP_SLOW_ROUNDS=$(or $(ROUNDS),10) $(BIN)/python -m pytest -s --timeout 0 tests/operations/test_slow_clients.py

reloads: $(VENV)/installed-dev  ## reload RELOADS=100 times under load, with 1 worker and with 2
	@SEDP_RELOADS=$(or $(RELOADS),100) $(BIN)/python -m pytest -s --timeout 0 tests/operations/test_reloads.py

soak: $(VENV)/installed-dev  ## mixed load for MINUTES=10; does anything grow with the requests?
	@SEDP_SOAK_S=$$(( $(or $(MINUTES),10) * 60 )) $(BIN)/python -m pytest -s --timeout 0 tests/operations/test_soak.py

leavers: $(VENV)/installed-dev  ## LEAVERS=100000 callers leave before their answer
	@SEDP_LEAVERS=$(or $(LEAVERS),100000) SEDP_CANCEL_S=0.05 SEDP_SEED=$(or $(SEED),0) \
		$(BIN)/python -m pytest -s --timeout 0 tests/operations/test_leavers.py

hostile: $(VENV)/installed-fuzz  ## hostile inputs by thousands (proxies need nginx-light and haproxy)
	@SEDP_OPENAPI=2000 SEDP_JSON=50000 SEDP_TENSORS=20000 SEDP_FRAMING=5000 SEDP_PROXIED=10000 SEDP_BOMBS=200 \
		SEDP_NAMES=5000 SEDP_PARSERS=100000 $(BIN)/python -m pytest --timeout 0 tests/hostile

hostile-full: $(VENV)/installed-fuzz  ## the same by millions: many hours
	@SEDP_OPENAPI=50000 SEDP_JSON=1000000 SEDP_TENSORS=200000 SEDP_FRAMING=100000 SEDP_PROXIED=10000 \
		SEDP_BOMBS=2000 SEDP_NAMES=100000 SEDP_PARSERS=10000000 $(BIN)/python -m pytest --timeout 0 tests/hostile

lint: $(VENV)/installed-dev  ## style, types and import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy -p sedp
	@$(BIN)/mypy -p bench
	@$(BIN)/lint-imports

format: $(VENV)/installed-dev  ## put the code into the house style
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(VENV)/installed-demo  ## run one bench, e.g. make bench NAME=engine
	@$(BIN)/python -m bench $(NAME)

overload: $(VENV)/installed-demo  ## more load than can be served: the daemon (live), then every controller (virtual clock)
	@$(BIN)/python -m bench overload
	@$(BIN)/python -m bench controllers

schema: $(VENV)/installed-demo  ## regenerate configs/sedp.schema.json
	@$(BIN)/sedp schema > configs/sedp.schema.json

clean:  ## remove the environment, the data and all caches
	rm -rf $(VENV) "$(DATA_DIR)" build dist *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: apt-get install python3 python3-venv"; exit 2; }
	@$(PYTHON) -m venv $(VENV) || { echo "python3-venv is missing: apt-get install python3-venv"; exit 2; }

$(VENV)/installed-demo: setup.cfg pyproject.toml | $(BIN)/python
	@echo "Installing SEDP and what the demo needs into $(VENV)"
	@$(BIN)/python -m pip install --editable '.[demo]'
	@touch $@

$(VENV)/installed-dev: setup.cfg pyproject.toml | $(BIN)/python
	@echo "Installing SEDP and its development tools into $(VENV)"
	@$(BIN)/python -m pip install --editable '.[demo,dev]'
	@touch $@ $(VENV)/installed-demo

$(VENV)/installed-fuzz: $(VENV)/installed-dev
	@$(BIN)/python -m pip install --editable '.[demo,dev,fuzz]'
	@touch $@
