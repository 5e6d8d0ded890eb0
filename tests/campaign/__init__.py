"""Random kills, power cuts, mutated inputs, faults and long runs: see docs/reliability.md."""

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")  # before any library is loaded: a process with threads must not be forked
