"""Is a sample the same whatever the tile and the batch? Largest difference on a 513x641 image.

    python -m benchmarks.tiling

Trains for a few steps on the embedded noisy image, then compares samples drawn whole and one by one with
samples drawn in batches and tiles. Differences are in units of the images' standard deviation (what the network
works in), and in grey levels.
"""

from __future__ import annotations

import numpy as np
import torch

from benchmarks.record import write_result
from divseg import DivNoising
from divseg.workflow.demo import demo_image


def main() -> None:
    noisy, _, _ = demo_image()
    image = np.pad(noisy, ((0, 1), (0, 129)), mode="reflect")
    model = DivNoising.fit([noisy], noise="estimated", train_steps=300, seed=0, device="cpu")
    reference = torch.cat(list(model.sample(image, n=8, seed=0, batch_size=1, tile=4096)))
    rows = [
        "| tile | batch | largest difference (sd) | largest difference (grey levels) |",
        "| --- | --- | --- | --- |",
    ]
    for tile in (96, 160, 4096):
        for batch in (1, 3, 8):
            other = torch.cat(list(model.sample(image, n=8, seed=0, batch_size=batch, tile=tile)))
            worst = float((other - reference).abs().max())
            rows.append(f"| {'whole' if tile == 4096 else tile} | {batch} | {worst / model.sd:.1e} | {worst:.1e} |")
    spread = float(reference.std(0).mean() / model.sd)
    body = f"8 samples of {image.shape[0]}x{image.shape[1]}; spread of the samples {spread:.2f} sd.\n\n" + "\n".join(
        rows
    )
    write_result("tiling", "Tiles and batches do not change a sample", "python -m benchmarks.tiling", body)


if __name__ == "__main__":
    main()
