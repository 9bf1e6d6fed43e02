"""Benchmarks, run by `make bench`. Each result is printed with the conditions under which it was measured."""
