"""Benchmarks: one script a question; results, with the command that made them, in ``results/``."""
