"""How many threads a benchmark takes."""

from __future__ import annotations

import numba
import torch


def limit_threads(count: int) -> None:
    """Give PyTorch and Numba `count` threads; segmenters take as many images at once as Numba has threads."""
    # Numba's first parallel loop would give PyTorch all cores again: they share OpenMP
    numba.config.NUMBA_NUM_THREADS = min(count, numba.config.NUMBA_NUM_THREADS)
    torch.set_num_threads(count)
    numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)
