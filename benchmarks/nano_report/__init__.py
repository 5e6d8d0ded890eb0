"""The report of the embedded backbone and its removers, made anew by `python -m benchmarks.nano_report`."""
