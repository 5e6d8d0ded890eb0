#!/bin/sh
# One table of what matters on a GPU, in at most 8 minutes: benchmarks/gpu.sh [--parts NAME ...] [--dry-run]
# Keep its output in benchmarks/README.md, under the card's name. PYTHON chooses the interpreter.
set -eu
cd "$(dirname "$0")/.."
if [ -z "${PYTHON:-}" ]; then
    PYTHON=python3
    [ -x .venv/bin/python ] && PYTHON=.venv/bin/python
fi
export HF_HUB_OFFLINE=1 PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
exec "$PYTHON" -m benchmarks.gpu "$@"
