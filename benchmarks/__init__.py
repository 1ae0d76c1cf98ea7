"""Measurements, each with a baseline in the same run; `make bench` writes benchmarks/RESULTS.md."""
