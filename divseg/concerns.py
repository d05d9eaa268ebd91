"""What a run may have to warn of: how each kind of warning begins, what then to trust, and what to look at."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Concern:
    """A kind of warning.

    Attributes
    ----------
    lead : str
        How a warning of this kind begins; figures of the image follow after a colon.
    trust : str
        What can be trusted, and what not.
    look : str
        What to look at, and what to do.
    """

    lead: str
    trust: str
    look: str

    def says(self, details: str) -> str:
        """Return the warning of one image."""
        return f"{self.lead}: {details}"


UNLIKE = Concern(
    "the image is unlike those that the model was trained on",
    "Samples may look right and be wrong, so existence says little here.",
    "Compare the denoised image with the noisy one; train on images of this kind, or check camera settings and "
    "intensity scale.",
)
CORRELATED = Concern(
    "the noise of neighbouring pixels is correlated",
    "The noise model takes every pixel for itself: stripes and grain of the noise may stay in every sample, and "
    "faint objects of their size may be noise in spite of a high existence.",
    "Look for stripes or grain in the denoised image; take images as the detector wrote them, without scaling, "
    "smoothing, compression or registration by fractions of a pixel.",
)
MISFIT = Concern(
    "the noise model does not fit the image",
    "Samples vary too little or too much, and existence with them.",
    "See in which signals the noise differs; measure it with calibration frames (divseg noise-model), or train on "
    "images of one camera setting.",
)
UNFINISHED = Concern(
    "training had not converged",
    "Denoised images are blurrier than they need be, faint objects may be missing, and existence may change with "
    "more training.",
    "Look at the training curves; train longer (--train-minutes).",
)
SATURATED = Concern(
    "pixels are saturated",
    "Objects that reach the limit keep their outline, but not their brightness; those that touch there may be merged.",
    "Look at the brightest objects; lower exposure or gain for further images.",
)
OUTLIERS = Concern(
    "single pixels are far from their neighbours",
    "They were mended from their neighbours, so they are no objects; neither are real objects of one pixel.",
    "Look at these places in the noisy image; a dark frame shows whether the detector has hot pixels.",
)
INVALID = Concern(
    "pixels are no data",
    "Nothing was measured or found there, and objects end there.",
    "See in the report which parts are left out; --invalid none takes them as data.",
)
NOTHING = Concern(
    "nothing found",
    "Either there are no objects in the image or the segmenter does not see them; the samples cannot tell which.",
    "Look at the denoised image; if there are objects, try another segmenter or a lower --existence.",
)
DOUBTFUL = Concern(
    "no object is certain",
    "Counts and areas of these images depend on the noise.",
    "Look at the outlines on the denoised image; try another segmenter, or train longer.",
)

CONCERNS = (UNLIKE, CORRELATED, MISFIT, UNFINISHED, OUTLIERS, SATURATED, INVALID, NOTHING, DOUBTFUL)
"""All kinds, the gravest first."""


def concern_of(warning: str) -> Concern | None:
    """Return the kind of a warning, None for one of no kind that is known."""
    return next((concern for concern in CONCERNS if warning.startswith(concern.lead)), None)
