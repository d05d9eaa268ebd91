"""What is compared: each row of the table, as the images that it segments and what becomes of their label images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.images import Key
from benchmarks.smoothing import STRENGTHS, have_bm3d
from divseg.io import config_hash

ENSEMBLES = ((0.5, 1.0, 1.5, 2.0, 3.0), (1.0, 1.5, 2.0, 3.0, 4.0), (1.5, 2.0, 3.0, 4.0, 6.0), (2.0, 3.0, 4.0, 6.0, 8.0))
"""Widths of the Gaussians that are fused; the set of them is tuned as the width of a single one is."""

SPREADS = (0.25, 0.5, 0.75)
"""Shares of their distance from the MMSE that shrunk samples keep."""

AS_RUN = "combination as divseg run"
"""What ``divseg run`` does: one segmenter for all members, fixed strengths."""
VIEWS_TUNED = "combination samples half + MMSE + smoothings"
"""The fusion of ``divseg run``, with a segmenter and a strength tuned for each kind of member."""
TIMED = ("MMSE", "single sample", "consensus clustering", AS_RUN)
"""Inputs by which models of other training times are compared."""
CURVE = (
    "MMSE",
    "consensus clustering",
    "consensus mutex",
    "consensus majority",
    "consensus of means of 4",
    VIEWS_TUNED,
)
"""Inputs of the curve, as far as they are in the table."""
CALIBRATED = ("consensus clustering", "consensus mutex", VIEWS_TUNED)
"""Inputs whose objects' existence is compared with the truth; it is always what the samples say."""


@dataclass(frozen=True)
class Input:
    """A row of the table.

    Attributes
    ----------
    name : str
        In the table.
    kind : str
        ``noisy smoothing network mmse sample consensus combination clean``: what it is compared as.
    images : tuple of Key
        Keys of the images; ``"*"`` in one stands for the setting, ``"k"`` for the numbers 0, 1, 2, ... .
    settings : tuple
        Values of ``"*"`` that are tried on the tuning part.
    result : str
        ``each``: every label image is scored, and the mean is taken; ``fuse``: they are fused, and that is scored.
    fusion : dict
        Options of :func:`divseg.fuse`; of a combination also ``first``, the share of the votes of its first member, and
        ``fixed``: all members have the first one's segmenter, and smoothings the strength of ``divseg run``.
    joint : bool
        Image-level parameters of the segmenter come from the MMSE.
    tuned_as : str
        Input whose tuning is shared, since only the fusion differs; empty = own tuning.
    members : tuple of str
        Of a combination: inputs whose label images vote together, each with the segmenter tuned for it.
    origin : str
        Tells images made elsewhere from others of the same name.
    """

    name: str
    kind: str
    images: tuple[Key, ...] = ()
    settings: tuple[Any, ...] = (None,)
    result: str = "each"
    fusion: dict[str, Any] = field(default_factory=dict)
    joint: bool = False
    tuned_as: str = ""
    members: tuple[str, ...] = ()
    origin: str = ""

    @property
    def definition(self) -> str:
        """Short hash of all that makes the row."""
        return "d" + config_hash(asdict(self))[:8]

    def keys(self, setting: Any, samples: int, most: int | None = None) -> list[Key]:
        """Return the keys of the images to segment.

        Parameters
        ----------
        setting
            One of `settings`.
        samples : int
            Posterior samples that there are.
        most : int, optional
            Of numbered images only the first so many.
        """
        keys: list[Key] = []
        for key in self.images:
            if "k" in key:
                size = key[1] if key[0] == "group" else 1
                count = max(1, samples // size)
                numbered = tuple(setting if v == "*" else v for v in key)
                keys += [tuple(k if v == "k" else v for v in numbered) for k in range(min(count, most or count))]
            elif "*" in key and isinstance(setting, tuple):
                keys += [tuple(one if v == "*" else v for v in key) for one in setting]
            else:
                keys.append(tuple(setting if v == "*" else v for v in key))
        return keys


def catalogue(*, clean: bool, samples: int, mode: bool = True, others: Mapping[str, str] | None = None) -> list[Input]:
    """Return the rows of the table, in its order.

    Parameters
    ----------
    clean : bool
        There are clean images.
    samples : int
        Posterior samples of each image.
    mode : bool
        Also the maximum a posteriori.
    others : mapping of str to str
        Kinds of images made elsewhere, such as N2V, and what tells them from others of the same name.
    """
    rows = [
        Input("MMSE", "mmse", (("mmse",),)),
        Input("single sample", "sample", (("sample", "k"),)),
        _fused("clustering", "clustering"),
    ]
    kinds = [k for k in STRENGTHS if k != ("stabilised non-local means" if have_bm3d() else "bm3d")]
    before = [Input("noisy", "noisy", (("noisy",),))]
    before += [Input(kind, "smoothing", ((kind, "*"),), STRENGTHS[kind]) for kind in kinds]
    before += [Input(kind, "network", ((kind,),), origin=origin) for kind, origin in (others or {}).items()]
    before += [
        Input("fused Gaussians", "ensemble", (("gaussian", "*"),), ENSEMBLES, "fuse", {"method": "clustering"}),
    ]
    if mode:
        rows.insert(1, Input("MAP", "network", (("map",),)))
    rows += [
        _fused("clustering, existence 0.3", "clustering", existence=0.3, tuned_as="consensus clustering"),
        _fused("clustering, existence 0.5", "clustering", existence=0.5, tuned_as="consensus clustering"),
        *(_fused(m, m) for m in ("mutex", "majority", "voting")),
        _fused("voting, SIMPLE", "voting", scheme="simple", tuned_as="consensus voting"),
        _fused("clustering, joint", "clustering", joint=True),
    ]
    rows.append(_fused("of shrunk samples", "clustering", images=(("shrunk", "*", "k"),), settings=SPREADS))
    for size in (4, 8):
        if samples >= 2 * size:
            rows.append(_fused(f"of means of {size}", "clustering", images=(("group", size, "k"),)))
    groups = ("consensus of means of 4",) if samples >= 8 else ()
    rows += [
        _combined("samples + MMSE", ("consensus clustering", "MMSE")),
        _combined("samples + MMSE + Gaussian", ("consensus clustering", *groups, "MMSE", "gaussian")),
        _combined("samples + MMSE + smoothings", ("consensus clustering", *groups, "MMSE", *kinds)),
        _combined("samples half + MMSE + smoothings", ("consensus clustering", *groups, "MMSE", *kinds), first=0.5),
        _combined("as divseg run", ("consensus clustering", *groups, "MMSE", *kinds), first=0.5, fixed=True),
    ]
    after = [Input("clean", "clean", (("clean",),))] if clean else []
    return before + rows + after


def select(rows: list[Input], wanted: Callable[[str], bool]) -> list[Input]:
    """Return the rows that are wanted by name, and those they need; the order stays."""
    names = {row.name for row in rows if wanted(row.name)}
    needed = {n for row in rows if row.name in names for n in (row.tuned_as, *row.members) if n}
    return [row for row in rows if row.name in names | needed]


def _fused(
    name: str,
    method: str,
    *,
    images: tuple[Key, ...] = (("sample", "k"),),
    settings: tuple[Any, ...] = (None,),
    joint: bool = False,
    tuned_as: str = "",
    **options: Any,
) -> Input:
    fusion = {"method": method, **options}
    return Input(f"consensus {name}", "consensus", images, settings, "fuse", fusion, joint, tuned_as)


def _combined(name: str, members: tuple[str, ...], **options: Any) -> Input:
    fusion = {"method": "clustering", **options}
    return Input(f"combination {name}", "combination", result="fuse", fusion=fusion, members=members)
