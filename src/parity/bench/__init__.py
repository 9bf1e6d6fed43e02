"""Benchmarks: numbers with their conditions, by `make bench`."""
