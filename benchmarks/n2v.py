"""Noise2Void of CAREamics on an image set, as a baseline of the quality table.

    python -m benchmarks.n2v --set dsb2018_fluo-n20 --minutes 3 --threads 1 --out FOLDER

trains on all noisy images of the set for so many minutes of wall clock, with CAREamics' own configuration for N2V
(2-D, patches of 64x64, flips and rotations, its U-Net and optimiser as they come), and writes the denoised images on
which the table scores (all, with ``--all``) to ``FOLDER/SET-LEVEL/NAME.npy`` beside ``training.json``. It needs the
package `careamics` and nothing of divseg, so it may run in another Python than divseg's. CAREamics imports torchvision
for its ladder networks alone; where torchvision is absent, a stand-in takes its place, which N2V never calls.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.util
import json
import logging
import sys
import tempfile
import time
import types
import warnings
from collections.abc import Iterator
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.datasets import load_set
from benchmarks.quality_sets import load_job, prediction_file, scored, split_name

PATCH = 64
EPOCHS = 100_000
"""More than any budget allows: the clock ends training."""
MULTIPLE = 8
"""Sides of predicted images are padded to a multiple of this, more than the pooling of the U-Net asks for."""


@contextlib.contextmanager
def stand_in_for_torchvision() -> Iterator[None]:
    """Let CAREamics be imported where torchvision is absent."""
    if importlib.util.find_spec("torchvision"):
        yield
        return
    names = ("torchvision", "torchvision.transforms", "torchvision.transforms.functional")
    modules = [types.ModuleType(name) for name in names]
    modules[0].__version__ = "absent"  # type: ignore[attr-defined]
    modules[0].transforms, modules[1].functional = modules[1:]  # type: ignore[attr-defined]
    sys.modules.update(zip(names, modules, strict=True))
    try:
        yield
    finally:
        for name in names:
            del sys.modules[name]


def import_careamics() -> Any:
    """Return the package.

    Raises
    ------
    SystemExit
        If it is not installed.
    """
    try:
        importlib.import_module("lightning.pytorch")  # it looks for the true torchvision
        with stand_in_for_torchvision():
            return importlib.import_module("careamics")
    except ImportError as error:
        raise SystemExit(f"this Python has no careamics ({error}): pip install careamics") from error


def train(images: list[NDArray[np.float32]], *, minutes: float, batch: int, seed: int, work: Path) -> Any:
    """Return a trained CAREamist.

    Parameters
    ----------
    images : list of array, shape (Y, X)
        Noisy images; all are trained on.
    minutes : float
        Wall clock of the training, without imports and the reading of data.
    batch : int
        Patches a step.
    seed : int
        Of the weights and the patches.
    work : Path
        Folder for the logs and the checkpoint of Lightning.
    """
    careamics = import_careamics()
    from careamics.config.factories import create_advanced_n2v_config
    from lightning.pytorch.callbacks import Timer

    config = create_advanced_n2v_config(
        "n2v",
        data_type="array",
        axes="YX",
        patch_size=[PATCH, PATCH],
        batch_size=batch,
        num_epochs=EPOCHS,
        num_workers=0,
        trainer_params={"num_sanity_val_steps": 0, "accelerator": "cpu", "enable_model_summary": False},
        checkpoint_params={"save_top_k": 0, "save_last": False},
        seed=seed + 1,  # CAREamics takes no 0
    )
    timer = Timer(timedelta(minutes=minutes), interval="step", verbose=False)
    tool = careamics.CAREamist(config, work_dir=work, callbacks=[timer], enable_progress_bar=False)
    tool.train(train_data=images)
    return tool


def predict(tool: Any, images: list[NDArray[np.float32]], work: Path) -> list[NDArray[np.float32]]:
    """Return the denoised images, from the weights as they were when the time ran out."""
    checkpoint = work / "end.ckpt"
    tool.trainer.save_checkpoint(checkpoint)
    padded = []
    for image in images:
        margin = [(0, -side % MULTIPLE) for side in image.shape]
        padded.append(np.pad(image, margin, mode="reflect"))
    found, _ = tool.predict(padded, batch_size=1, num_workers=0, checkpoint=checkpoint)
    out = []
    for image, denoised in zip(images, found, strict=True):
        y, x = image.shape
        out.append(np.asarray(denoised, np.float32).reshape(denoised.shape[-2:])[:y, :x])
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", required=True, metavar="SET-LEVEL", help="e.g. dsb2018_fluo-n20")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--batch", type=int, default=16, help="patches a step")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--all", action="store_true", help="predict all images, and of sets without clean ones too")
    parser.add_argument("--limit", type=int, help="predict at most so many images, for trials")
    parser.add_argument("--out", type=Path, required=True)
    a = parser.parse_args()
    name, level = split_name(a.set)
    pictures = load_set(name, level) if a.all else load_job(a.set)
    chosen = pictures if a.all else scored(pictures, name, a.limit)
    import_careamics()
    import torch

    if a.threads:
        torch.set_num_threads(a.threads)
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        start, start_cpu = time.perf_counter(), time.process_time()
        noisy = [p.noisy for p in pictures]
        tool = train(noisy, minutes=a.minutes, batch=a.batch, seed=a.seed, work=work)
        seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - start_cpu
        steps = tool.trainer.global_step
        denoised = predict(tool, [p.noisy for p in chosen], work)
    for picture, image in zip(chosen, denoised, strict=True):
        file = prediction_file(a.out, a.set, picture.name)
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
