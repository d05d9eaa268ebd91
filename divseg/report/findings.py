"""The first lines of the page: what was found, what to trust, what to look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from divseg.errors import CONCERNS, ONLY_NOISE, UNFINISHED, Concern, concern_of, counted
from divseg.results.open_run import Run
from divseg.results.reader import column

MAX_NAMES = 6
"""Images that a line names; the others are counted."""


@dataclass(frozen=True)
class Line:
    """A sentence, and the images that it is about.

    Attributes
    ----------
    text : str
        The sentence.
    images : tuple of str
        The first few images.
    more : int
        Number of further images.
    alarm : bool
        Whether it is about something that is wrong.
    section : str
        Section of the page that tells more, by its id; empty if there is none.
    """

    text: str
    images: tuple[str, ...] = ()
    more: int = 0
    alarm: bool = False
    section: str = ""


def grouped_warnings(run: Run) -> dict[str, dict[str, str]]:
    """Return the warnings by kind, the gravest first, and in each by image.

    Returns
    -------
    dict of str to dict
        The key is how a warning of the kind begins, or the whole of one of no known kind.
    """
    groups: dict[str, dict[str, str]] = {concern.lead: {} for concern in CONCERNS}
    for name, lines in run.warnings.items():
        for line in lines:
            concern = concern_of(line)
            groups.setdefault(concern.lead if concern else line, {})[name] = line
    return {lead: images for lead, images in groups.items() if images}


def training_concerns(run: Run) -> dict[Concern, str]:
    """Return what the training makes one warn of, with the warning."""
    record = run.record.get("training")
    if not isinstance(record, Mapping):
        return {}
    words, found = record.get("shortfalls"), {}
    if words and isinstance(words, list):
        found[UNFINISHED] = UNFINISHED.says("; ".join(map(str, words)))
    if record.get("only_noise") is True:
        found[ONLY_NOISE] = ONLY_NOISE.lead
    return found


def found(run: Run, groups: Mapping[str, Mapping[str, str]]) -> list[Line]:
    """Say what was found: objects, what is wrong, what failed."""
    existence = column(run.objects, "existence")
    existence = existence[np.isfinite(existence)]
    words = f"{counted(len(run.objects), 'object')} in {counted(len(run.names), 'image')}"
    if existence.size:
        half = np.median(existence)
        held = "every sample" if half == 1 else f"at least {100 * half:.0f} % of the samples"
        words += f"; half of the objects are in {held}"
    lines = [Line(f"{words}.")]
    if (named := run.segmenter) is not None:
        asked = str(run.setting("segmentation", "segmenter")).startswith("auto")
        why = "which the samples support best" if asked else "as it was asked for"
        lines.append(Line(f"Segmenter: {named}, {why}.", section="segmenter"))
    lines += [Line(f"{_sentence(words)}.", alarm=True, section="training") for words in training_concerns(run).values()]
    lines += [_line(f"{_sentence(lead)}.", list(images)) for lead, images in groups.items()]
    if n := len(run.failures):
        failed = f"{counted(n, 'image')} failed and {'is' if n == 1 else 'are'} in no number or chart of this page"
        lines.append(Line(f"{failed}.", alarm=True, section="problems"))
    return lines


def to_trust(run: Run, groups: Mapping[str, Mapping[str, str]]) -> list[Line]:
    """Say what can be trusted."""
    kinds = _kinds(run, groups)
    if not kinds and not groups and not len(run.failures):
        return [Line("No warnings.")]
    lines = [_line(concern.trust, list(groups.get(concern.lead, {}))) for concern in kinds]
    clean = [name for name in run.names if name not in run.warnings]
    if run.warnings and clean:
        lines.append(Line(f"{counted(len(clean), 'image')} of {len(run.names)} without a warning."))
    return lines


def to_look_at(run: Run, groups: Mapping[str, Mapping[str, str]]) -> list[Line]:
    """Say what to look at, and what to do."""
    lines = [_line(concern.look, list(groups.get(concern.lead, {}))) for concern in _kinds(run, groups)]
    lines += [_line("See the warning.", list(images)) for lead, images in groups.items() if concern_of(lead) is None]
    if len(run.objects):
        lines.append(Line("The objects to review first, which are the least certain.", section="review"))
    return lines


def _kinds(run: Run, groups: Mapping[str, Mapping[str, str]]) -> list[Concern]:
    told = training_concerns(run)
    return [concern for concern in CONCERNS if concern.lead in groups or concern in told]


def _line(text: str, images: Sequence[str]) -> Line:
    return Line(text, tuple(images[:MAX_NAMES]), max(0, len(images) - MAX_NAMES), alarm=True)


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:]
