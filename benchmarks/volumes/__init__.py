"""Volumes with known truth: thresholds and StarDist 3-D by ``divseg segment --volume`` and ``divseg run --volume``."""
