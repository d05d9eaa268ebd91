"""What every benchmark needs: the folder of data, a number of threads, and the table that it writes."""

from __future__ import annotations

import os
import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


def hardware() -> str:
    """One line on processor, cores, GPU and versions."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        lines = cpuinfo.read_text().splitlines()
        models = [line.partition(":")[2].strip() for line in lines if "model name" in line]
        name = models[0] if models else name
    parts = [f"{os.cpu_count()} cores of {name}"]
    if "torch" in sys.modules:
        import torch

        parts.append(torch.cuda.get_device_name(0) if torch.cuda.is_available() else "no GPU")
        parts.append(f"torch {torch.__version__} with {torch.get_num_threads()} threads")
    parts += [f"{p} {version(p)}" for p in ("numpy", "scipy", "scikit-image")]
    return ", ".join(parts)


def write_result(name: str, title: str, command: str, body: str) -> Path:
    """Write ``results/<name>.md`` and print it."""
    text = (
        f"# {title}\n\n`{command}`\n\n"
        f"{datetime.now(UTC):%Y-%m-%d}; {hardware()}; Python {platform.python_version()}\n\n"
        f"{body.strip()}\n"
    )
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.md"
    path.write_text(text, encoding="utf-8")
    print(text)
    return path


def data_root() -> Path:
    """Folder named by the environment variable DIVSEG_DATA.

    Raises
    ------
    SystemExit
        If it is not set or not a folder.
    """
    root = os.environ.get("DIVSEG_DATA")
    if not root or not Path(root).is_dir():
        raise SystemExit("set the environment variable DIVSEG_DATA to the folder with the data sets")
    return Path(root)


def limit_threads(count: int) -> None:
    """Give PyTorch and Numba `count` threads; segmenters take as many images at once as Numba has threads."""
    import numba
    import torch

    # Numba's first parallel loop would give PyTorch all cores again: they share OpenMP
    numba.config.NUMBA_NUM_THREADS = min(count, numba.config.NUMBA_NUM_THREADS)
    torch.set_num_threads(count)
    numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)
