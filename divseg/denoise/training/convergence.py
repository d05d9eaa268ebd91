"""Whether training had converged when its budget ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from divseg.errors import counted

FALL = 0.01
"""Nats per pixel that the validation loss may fall in the second half of training: the learning rate ends at almost
nothing, so that the last steps change little, converged or not."""

LEAST_MEGAPIXELS, MOST_MEGAPIXELS = 15.0, 300.0
"""Pixels of crops that a training needs, however few or many the images have; between the two each pixel once."""


EMPTY = 0.02
"""Fraction of the KL divergence below which a latent grid carries nothing: grids in use carry a tenth or more."""


def shortfalls(
    history: Sequence[Mapping[str, float]], megapixels: float, image_pixels: int, grid_kl: Sequence[float] = ()
) -> list[str]:
    """Return in words what speaks against a training having converged.

    Parameters
    ----------
    history : sequence of mapping
        Lines of the training log, with ``step``, ``beta`` and, where the model was validated, ``val_loss``.
    megapixels : float
        Pixels of the crops that were trained on, in millions.
    image_pixels : int
        Pixels of all images.
    grid_kl : sequence of float
        KL of each latent grid in nats per pixel, finest first.
    """
    found = []
    enough = min(max(LEAST_MEGAPIXELS, image_pixels / 1e6), MOST_MEGAPIXELS)
    if megapixels < enough:
        found.append(
            f"it saw {megapixels:.3g} megapixels of crops, and images of {image_pixels / 1e6:.3g} megapixels need "
            f"about {enough:.3g} or more"
        )
    validated = [row for row in history if "val_loss" in row and row["beta"] >= 1.0]
    if len(validated) > 1:
        half = validated[-1]["step"] / 2
        before = next(row for row in validated if row["step"] >= half)
        fall = before["val_loss"] - validated[-1]["val_loss"]
        if fall > FALL:
            found.append(
                f"its loss was still falling, by {fall:.3f} nats per pixel from step {before['step']:.0f} to step "
                f"{validated[-1]['step']:.0f}"
            )
    empty = [kl for kl in grid_kl if kl < EMPTY * sum(grid_kl)]
    if empty:
        found.append(
            f"{len(empty)} of its {counted(len(grid_kl), 'latent grid')} carry nothing ("
            f"{', '.join(f'{kl:.1e}' for kl in grid_kl)} nats per pixel, finest first), as a bad start may leave "
            "them, and denoised images are the worse for it: train with another seed (--seed)"
        )
    return found
