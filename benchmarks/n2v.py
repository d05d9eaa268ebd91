"""Noise2Void of CAREamics on an image set, as a baseline of the quality table.

    python -m benchmarks.n2v --set dsb2018_fluo-n20 --minutes 3 --threads 1 --out FOLDER

trains on all noisy images of the set for so many minutes of processor time, threads added up, with CAREamics' own
configuration for N2V (2-D, patches of 64x64, flips and rotations, its U-Net and optimiser as they come), and writes the
denoised images on which the table scores (all, with ``--all``) to ``FOLDER/SET-LEVEL/NAME.npy`` beside
``training.json``. It needs the package `careamics`, so it may run in another Python than the other benchmarks.
CAREamics imports torchvision for its LVAE networks alone; if torchvision is absent, a stand-in takes its place, which
N2V never calls.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.util
import json
import sys
import tempfile
import time
import types
import warnings
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from benchmarks.denoising import registry
from benchmarks.sets import denoised_file, load_clean, load_set, scored, split_name
from divseg.denoise.noise2void import PATCH, import_careamics, predict_n2v, train_n2v


@contextlib.contextmanager
def stand_in_for_torchvision() -> Iterator[None]:
    """Let CAREamics be imported where torchvision is absent."""
    if importlib.util.find_spec("torchvision"):
        yield
        return
    names = ("torchvision", "torchvision.transforms", "torchvision.transforms.functional")
    modules = [types.ModuleType(name) for name in names]
    attributes = ((0, "__version__", "absent"), (0, "transforms", modules[1]), (1, "functional", modules[2]))
    for module, name, value in attributes:
        setattr(modules[module], name, value)
    sys.modules.update(zip(names, modules, strict=True))
    try:
        yield
    finally:
        for name in names:
            del sys.modules[name]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--set", required=True, metavar="SET-LEVEL", help="e.g. dsb2018_fluo-n20, or a set of benchmarks.denoising"
    )
    parser.add_argument("--minutes", type=float, default=10.0, help="training, processor time")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--batch", type=int, default=16, help="patches a step")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--all", action="store_true", help="predict all images, and of sets without clean ones too")
    parser.add_argument("--limit", type=int, help="predict at most so many images, for trials")
    parser.add_argument("--out", type=Path, required=True)
    a = parser.parse_args()
    if a.set in registry.REGISTRY:
        pictures = registry.load(a.set)
        chosen = registry.scored(pictures, a.limit)
    else:
        name, level = split_name(a.set)
        pictures = load_set(name, level) if a.all else load_clean(a.set)
        chosen = scored(pictures, name, a.limit)
    chosen = pictures if a.all else chosen
    importlib.import_module("lightning.pytorch")  # it looks for the true torchvision
    with stand_in_for_torchvision():
        import_careamics()
    if a.threads:
        torch.set_num_threads(a.threads)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        start, start_cpu = time.perf_counter(), time.process_time()
        noisy = [p.noisy for p in pictures]
        tool = train_n2v(
            noisy, minutes=a.minutes, batch=a.batch, seed=a.seed, work=work, device="cpu", clock=time.process_time
        )
        seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - start_cpu
        steps = tool.trainer.global_step
        denoised = predict_n2v(tool, [p.noisy for p in chosen], work)
    for picture, image in zip(chosen, denoised, strict=True):
        file = denoised_file(a.out, a.set, picture.name)
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, image)
    facts = {
        "minutes": a.minutes,
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu_seconds, 1),
        "steps": steps,
        "megapixels": round(steps * a.batch * PATCH**2 / 1e6, 1),
        "threads": torch.get_num_threads(),
        "careamics": version("careamics"),
        "torch": torch.__version__,
    }
    (a.out / a.set / "training.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    print(f"{a.set}: {facts}", flush=True)


if __name__ == "__main__":
    main()
