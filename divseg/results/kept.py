"""What a run keeps of each image beside labels and tables: names of the setting ``keep``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from divseg.errors import ConfigError, brief, did_you_mean

ALWAYS = ("labels", "objects")
"""May be named, and are always kept."""

MAPS = ("foreground", "boundary")
KINDS = ("denoised", "std", *MAPS, "crops", "stacks", "samples", "rois", "geojson", "zarr", "tracks", "parquet")
"""What may be kept; ``samples=8`` keeps more than two."""

SAMPLES = 2
"""Samples that are kept if the setting names no number."""


@dataclass(frozen=True)
class Kept:
    """What a run keeps.

    Attributes
    ----------
    kinds : frozenset of str
        Of :data:`KINDS`.
    samples : int
        Number of samples of each image; 0 if none.
    """

    kinds: frozenset[str]
    samples: int

    @classmethod
    def of(cls, names: Iterable[str]) -> Kept:
        """Read the setting: names of :data:`KINDS` and :data:`ALWAYS`, ``all``, ``none``, ``samples=N``.

        Raises
        ------
        ConfigError
            Another name, or a number of samples that is none.
        """
        kinds: set[str] = set()
        samples = SAMPLES
        for name in names:
            kind, equals, number = (part.strip() for part in name.partition("="))
            if equals and kind == "samples":
                if not number.isdecimal() or int(number) < 1:
                    raise ConfigError(f"keep: {brief(name)}: say how many samples, such as samples=4")
                samples = int(number)
            elif equals or kind not in (*KINDS, *ALWAYS, "all", "none"):
                known = (*ALWAYS, *KINDS, "all", "none")
                raise ConfigError(f"keep: unknown {brief(name)}{did_you_mean(kind, known)} (known: {', '.join(known)})")
            kinds |= set(KINDS) if kind == "all" else {kind} & set(KINDS)
        return cls(frozenset(kinds), samples if "samples" in kinds else 0)

    def __contains__(self, kind: str) -> bool:
        """Tell whether a kind is kept."""
        return kind in self.kinds

    def of_stage(self, *kinds: str) -> tuple[str, ...]:
        """Return those of some kinds that are kept, as :class:`divseg.results.marker.StageRecord` notes them."""
        names = {"samples": f"samples={self.samples}"}
        return tuple(names.get(kind, kind) for kind in kinds if kind in self.kinds)
