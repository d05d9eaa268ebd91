"""The share of the machine that a worker process gets, by environment variables set before it starts."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
"""Variables that limit the threads of torch, NumPy, SciPy and Numba."""


def thread_limits(workers: int) -> dict[str, str]:
    """Return the variables by which each of some processes uses its share of the cores; lower limits stay."""
    share = max(1, cores() // workers)
    limits = {}
    for name in THREADS:
        limit = os.environ.get(name, "")
        limits[name] = str(min(share, int(limit)) if limit.isdigit() and int(limit) else share)
    return limits


def one_gpu(slot: int, gpus: int) -> dict[str, str]:
    """Return the variable by which process number `slot` sees only one of the first `gpus` visible GPUs."""
    if not gpus:
        return {}
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    devices = (visible.split(",") if visible else [str(i) for i in range(gpus)])[:gpus]
    return {"CUDA_VISIBLE_DEVICES": devices[slot % len(devices)]}


@contextlib.contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for the processes that are started in the block; all are restored after it."""
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        for name in [name for name in os.environ if name not in before]:
            del os.environ[name]
        os.environ.update(before)


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
