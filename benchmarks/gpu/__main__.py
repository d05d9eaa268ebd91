"""Every figure of a GPU in one call: for whoever has a card for some minutes.

    [DIVSEG_DATA=...] python -m benchmarks.gpu [--device cuda|cpu] [--minutes 5] [--small] [--parts PART ...]

Parts, in this order: ``operations`` (counts, the same on every machine), ``agreement`` (tiles, batches and devices
give the same samples), ``sampling``, ``training``, ``stardist``, ``quality`` (one minute of training), ``demo`` and
``fields`` (a whole run of 96 fields). The table is written after each part, so that nothing is lost if time or the card
ends; a part that fails is a row of the table. No network is needed, and no data: with ``DIVSEG_DATA`` the part quality
uses dsb2018_fluo, without it the demo's image. ``--small`` makes everything small: it runs on a CPU in a minute or two.
"""

from __future__ import annotations

import argparse

import torch

from benchmarks.gpu import agreement, operations, runs, sampling, training
from benchmarks.gpu.card import Card, Part, measure

PARTS: dict[str, Part] = {
    "operations": operations.rows,
    "agreement": agreement.rows,
    "sampling": sampling.rows,
    "training": training.speed,
    "stardist": runs.stardist,
    "quality": training.quality,
    "demo": runs.demo,
    "fields": runs.fields,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--minutes", type=float, default=5.0, help="time for everything; training is a part of it")
    parser.add_argument("--small", action="store_true", help="small images, few samples")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART")
    parser.add_argument("--name", default="gpu", help="of the table in benchmarks/results")
    a = parser.parse_args()
    card = Card(torch.device(a.device), a.minutes, a.small)
    words = ["python -m benchmarks.gpu", f"--device {a.device}", f"--minutes {a.minutes:g}"]
    words += ["--small"] if a.small else []
    words += [f"--parts {' '.join(a.parts)}"] if a.parts != list(PARTS) else []
    measure(card, {part: PARTS[part] for part in PARTS if part in a.parts}, " ".join(words), a.name)


if __name__ == "__main__":
    main()
