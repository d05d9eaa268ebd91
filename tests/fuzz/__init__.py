"""Mutated files of every format that divseg reads: each is read, or refused in one line.

``python -m tests.fuzz --count 50000`` runs as many as asked; the test beside this file runs a few of each kind.
"""
