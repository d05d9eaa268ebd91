"""Time and memory, measured against other tools in the same run; each command writes a table to benchmarks/results."""
