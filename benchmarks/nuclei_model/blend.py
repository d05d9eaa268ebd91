"""Average the weights of two StarDist models of one architecture, one trained on from the other.

    python -m benchmarks.nuclei_model.blend FORMER TRAINED --share 0.75

The weights of TRAINED become ``share`` of themselves and the rest of FORMER's: between the two, what the former knew
(clean images) is lost less than what the latter has learned (denoised ones) is gained (Wortsman et al., "Robust
fine-tuning of zero-shot models", CVPR 2022). Needs h5py.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import h5py


def blend(former: Path, trained: Path, share: float) -> None:
    """Write the average into the weights file `trained`; both files hold the same arrays."""
    with h5py.File(former) as old, h5py.File(trained, "r+") as new:
        names: list[str] = []
        new.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        for name in names:
            new[name][...] = share * new[name][...] + (1 - share) * old[name][...]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("former", type=Path, help="model folder")
    parser.add_argument("trained", type=Path, help="model folder, changed")
    parser.add_argument("--share", type=float, default=0.75, help="of the trained weights")
    a = parser.parse_args()
    blend(a.former / "weights_best.h5", a.trained / "weights_best.h5", a.share)


if __name__ == "__main__":
    main()
