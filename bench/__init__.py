"""Gatehouse against nginx and against no gateway at all, on one machine: `make bench`; see docs/performance.md."""
