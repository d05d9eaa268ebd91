"""Weights of raters or samples, as a user gives them."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from divseg.errors import InputError
from divseg.io import MaskSet, MaskSets

Weights: TypeAlias = "Sequence[float] | Mapping[str, float] | str | os.PathLike[str]"


class MaskWeights:
    """Weight of each label image of each set.

    Parameters
    ----------
    weights : sequence of float, mapping of str to float, str or path, optional
        One number for each rater in natural order of their folders, or for each label image of every image;
        or numbers by name; or the text ``"2,1,1"``; or a CSV file with the columns `name` and `weight`.
        Names are those of raters' folders or of files (without ``.tif``), or positions in a stack from 0.
    found : MaskSets
        What they are weights of.

    Raises
    ------
    InputError
        Weights that cannot be read, are negative or all zero, are not one for each, or names that nothing has.
    """

    @property
    def given(self) -> dict[str, float] | list[float] | None:
        """The weights as they were given: by name, or in order."""
        return self.by_name or self.in_order

    def __init__(self, weights: Weights | None, found: MaskSets) -> None:
        self.raters = found.raters
        self.by_name: dict[str, float] | None = None
        self.in_order: list[float] | None = None
        if weights is None:
            return
        if isinstance(weights, str | os.PathLike):
            weights = _read(weights)
        if isinstance(weights, Mapping):
            self.by_name = {str(name): _number(value) for name, value in weights.items()}
            _check_names(self.by_name, found)
        else:
            self.in_order = [_number(value) for value in weights]
            if self.raters and len(self.in_order) != len(self.raters):
                raise InputError(
                    f"{len(self.in_order)} weights were given for {len(self.raters)} raters "
                    f"({', '.join(self.raters)}); give one for each"
                )
            counts = sorted({len(s.sources) for s in found.sets})
            if not self.raters and counts and len(self.in_order) not in counts:
                each = " or ".join(map(str, counts)) if len(counts) < 4 else f"{counts[0]} to {counts[-1]}"
                raise InputError(
                    f"{len(self.in_order)} weights were given for {each} label images an image: one for each"
                )
        if not any(self.in_order or (self.by_name or {}).values()):
            raise InputError("all weights are 0; give at least one above it")

    def of(self, masks: MaskSet) -> list[float] | None:
        """Return the weight of each label image of a set, None for equal ones.

        Raises
        ------
        InputError
            Where they are not one for each.
        """
        if self.by_name is not None:
            lacking = [name for name in masks.sources if name not in self.by_name]
            if lacking:
                raise InputError(f"no weight for {', '.join(lacking)}; add it")
            values = [self.by_name[name] for name in masks.sources]
        elif self.in_order is None:
            return None
        elif self.raters:
            known = dict(zip(self.raters, self.in_order, strict=True))
            values = [known[name] for name in masks.sources]
        elif len(self.in_order) == len(masks.sources):
            values = self.in_order
        else:
            raise InputError(f"{len(self.in_order)} weights for {len(masks.sources)} label images; give one for each")
        if not any(values):
            raise InputError(f"all of its label images have weight 0 ({', '.join(masks.sources)})")
        return values


def _check_names(names: Iterable[str], found: MaskSets) -> None:
    names = list(names)
    known = list(dict.fromkeys([*found.raters, *(name for s in found.sets for name in s.sources)]))
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise InputError(f"there is a weight for {name!r}, but nothing of that name{hint} (known: {_some(known)})")
    lacking = [rater for rater in found.raters if rater not in names]
    if lacking:
        raise InputError(f"no weight for {', '.join(lacking)}; give one for each rater")


def _read(weights: str | os.PathLike[str]) -> list[float] | dict[str, Any]:
    """Read numbers from text, or a table from a file."""
    if isinstance(weights, str) and not weights.lower().endswith(".csv"):
        try:
            return [float(part) for part in weights.split(",")]
        except ValueError:
            raise InputError(
                f"weights {weights!r} are neither numbers like 2,1,1 nor a .csv file with the columns name and weight"
            ) from None
    path = Path(os.path.expanduser(os.fspath(weights)))
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, skipinitialspace=True)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: the weights cannot be read ({error})") from error
    for column in ("name", "weight"):
        if column not in table:
            raise InputError(
                f"{path}: no column {column!r} (found: {', '.join(map(str, table))}); name the columns name,weight"
            )
    twice = table["name"][table["name"].duplicated()]
    if len(twice):
        raise InputError(f"{path}: {twice.iloc[0]!r} has two weights; keep one")
    return {str(name): weight for name, weight in zip(table["name"], table["weight"], strict=True)}


def _number(value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise InputError(f"the weight {value!r} is not a number") from None
    if not (np.isfinite(number) and number >= 0):
        raise InputError(f"the weight {value!r} is impossible: give a number of at least 0")
    return number


def _some(names: Iterable[str], most: int = 12) -> str:
    names = list(names)
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
