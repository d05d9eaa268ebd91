"""The dry check: everything that can be known to go wrong, before any work."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from divseg.errors import FileProblem, InputError, Problem, some
from divseg.io.axes import ASKED, UNKNOWN
from divseg.io.channels import Channel, listed
from divseg.io.invalid import Invalid, check_invalid
from divseg.io.reading import merge_notes, same_names, scan
from divseg.io.refs import ImageList, ImageRef
from divseg.io.sources import InputFiles, LeftOut, Source, find_files
from divseg.io.truth import SUFFIXES, LabelRef, pair_truth, truth_files, without_masks

_NAMED = 100  # files that are named for each reason; run.json has all
_LONGEST = 200
"""Bytes of a name: file systems have 255, and temporary files have longer names than results."""


@dataclass
class InputReport:
    """What a run would work on.

    Attributes
    ----------
    images : ImageList
        Images that can be used.
    problems : list of Problem
        Files that cannot be used, and masks that do not fit.
    n_unusable : int
        How many of the problems are images.
    warnings : list of str
        What the user should know.
    truth : dict of str to LabelRef
        Ground truth by name of the image; empty without ground truth.
    left_out : list of LeftOut
        Files among the images that are not taken as images.
    """

    images: ImageList
    problems: list[Problem] = field(default_factory=list)
    n_unusable: int = 0
    warnings: list[str] = field(default_factory=list)
    truth: dict[str, LabelRef] = field(default_factory=dict)
    truth_given: bool = False
    left_out: list[LeftOut] = field(default_factory=list)

    def lines(self) -> list[str]:
        """Return the summary, a line of text each, problems last."""
        refs = self.images.refs
        files = len({ref.path for ref in refs})
        lines = [
            f"images: {len(refs)}" + (f" in {files} files" if files != len(refs) else ""),
            "sizes: " + _tally(" x ".join(map(str, ref.shape)) for ref in refs),
            "dtypes: " + _tally(str(ref.dtype) for ref in refs),
            "axes: " + _tally(ref.axes + _iterated(ref.plane) for ref in refs),
            "pixel size: " + _tally(str(ref.pixel_size) if ref.pixel_size else "not known" for ref in refs),
        ]
        if self.truth_given:
            lines.append(f"ground truth: {len(self.truth)} of {len(refs)} images have a mask")
        lines += understood(refs)
        lines += [f"note: {line}" for line in self.warnings]
        reasons: dict[str, list[str]] = {}
        for left in self.left_out:
            reasons.setdefault(left.reason, []).append(str(left.file))
        lines += [f"not taken: {some(files, _NAMED)}: {reason}" for reason, files in reasons.items()]
        return lines + [f"problem: {problem}" for problem in self.problems]


def check_inputs(
    source: Source,
    *,
    axes: str | None = None,
    channel: Channel | None = None,
    depth: str | None = None,
    ask: Sequence[str] = tuple(ASKED),
    invalid: Invalid = "auto",
    truth: Source | None = None,
    out: str | os.PathLike[str] | None = None,
) -> InputReport:
    """Look at all inputs without reading pixels.

    Parameters
    ----------
    source, axes, channel, depth, invalid
        As in :func:`divseg.io.read`.
    ask : sequence of str
        Options of the command that say what is done with a depth axis: without `depth`, a file that has one is then a
        problem. Empty: it is kept.
    truth : path, str or iterable of those, optional
        Masks, see :func:`divseg.io.pair_truth`. Those that lie among the images are not taken as images.
    out : path, optional
        The folder that results would go to.

    Returns
    -------
    InputReport
        A file that cannot be used is a row of its `problems`, not an exception.

    Raises
    ------
    InputError
        If there are no images or none can be used, if images share a name (their results would overwrite each other),
        if `out` is a file, an input folder or inside of one, or holds the images, or if no mask at all has the
        name of an image.
    """
    invalid = check_invalid(invalid)
    inputs = find_files(source)
    if out is not None:
        check_out(out, inputs)
    files = inputs.files if truth is None else without_masks(inputs.files, truth_files(truth))
    refs, bad, notes = scan(files, axes=axes, channel=channel, depth=depth, ask=ask)
    refs, long = _with_short_names(refs)
    bad += long
    problems = [error.problem for error in bad]
    if not refs:
        more = f" (and {len(problems) - 1} more files with problems)" if len(problems) > 1 else ""
        raise InputError(f"none of the images can be used: {problems[0]}{more}" if problems else "no images to work on")
    duplicates = same_names(refs)
    if duplicates:
        more = f" (and {len(duplicates) - 1} more such groups)" if len(duplicates) > 1 else ""
        raise InputError(
            f"{duplicates[0]}, whose results would overwrite each other{more}; rename or leave out all but one"
        )
    report = InputReport(
        ImageList(replace(ref, invalid=invalid) for ref in refs),
        problems,
        len(bad),
        [*merge_notes(notes), *_differing_channels(refs)],
        truth_given=truth is not None,
    )
    taken = set(files)
    masks = [LeftOut(file, "taken as the mask of another image") for file in inputs.files if file not in taken]
    report.left_out = [*inputs.left_out, *masks]
    if truth is not None:
        _add_truth(report, truth)
    return report


def check_out(out: str | os.PathLike[str], inputs: InputFiles) -> None:
    """Make sure that results cannot get among the images.

    Raises
    ------
    InputError
        If `out` is a file, an input folder or inside of one, or holds the images.
    """
    target = Path(out).expanduser()
    if target.exists() and not target.is_dir():
        raise InputError(f"{target}: the output is an existing file; give a folder with --out")
    real = target.resolve()
    for folder in inputs.folders:
        inside = folder.resolve()
        if real == inside or inside in real.parents:
            advice = inside.with_name(inside.name + "_divseg")
            raise InputError(
                f"{target}: the output folder {'is' if real == inside else 'lies inside'} the input folder "
                f"{folder}; choose another with --out, for example {advice}"
            )
    for file in inputs.files:
        if file.is_dir() and (real == file.resolve() or file.resolve() in real.parents):
            raise InputError(f"{target}: the output folder lies inside the image {file}; choose another with --out")
        if real in file.resolve().parents:
            raise InputError(f"{file}: this image lies inside the output folder {target}; choose another --out")


def _with_short_names(refs: list[ImageRef]) -> tuple[list[ImageRef], list[FileProblem]]:
    """Return the images whose results can be filed under their names, and a problem for each file with others."""
    long = {ref.path: ref.name for ref in refs if any(len(p.encode()) > _LONGEST for p in ref.name.split("/"))}
    problems = [
        FileProblem(path, f"its name has {len(name.encode())} bytes", f"shorten it to {_LONGEST} or less")
        for path, name in long.items()
    ]
    return [ref for ref in refs if ref.path not in long], problems


def _add_truth(report: InputReport, truth: Source) -> None:
    pairing = pair_truth(report.images.refs, truth)
    if not pairing.pairs and not pairing.problems:
        name = report.images.refs[0].name
        raise InputError(
            f"{_text(truth)}: no mask has the name of an image; for image {name!r} name it "
            + ", ".join(name + suffix for suffix in SUFFIXES)
        )
    report.truth = pairing.pairs
    report.problems += pairing.problems
    if pairing.missing:
        report.warnings.append(f"images without a mask, which get no scores: {some(pairing.missing)}")
    if pairing.unused:
        report.warnings.append(f"masks without an image: {some([path.name for path in pairing.unused])}")


def _differing_channels(refs: Sequence[ImageRef]) -> list[str]:
    """Return a warning if the channel that is taken has other names in some files than in others."""
    files: dict[str, str] = {}
    for ref in refs:
        if ref.channel_name:
            files.setdefault(ref.channel_name, f"{ref.channel_name} in {ref.path.name}")
    if len(files) < 2:
        return []
    number = refs[0].channel
    return [f"channel {number} is named {some(list(files.values()))}; give --channel by name to take one of them"]


def understood(refs: Sequence[ImageRef]) -> list[str]:
    """Return a line for each kind of file that is more than one plane: its axes, the channel, frames, depth.

    Parameters
    ----------
    refs : sequence of ImageRef
        Images.
    """
    kinds: dict[str, list[str]] = {}
    by_source: dict[tuple[Path, int], list[ImageRef]] = {}
    for ref in refs:
        by_source.setdefault((ref.path, ref.source.series), []).append(ref)
    for (path, _), group in by_source.items():
        if len(group[0].source.shape) > 2:
            kinds.setdefault(_described(group), []).append(str(path))
    return [f"{some(list(dict.fromkeys(files)), 1)}: {kind}" for kind, files in kinds.items()]


def _described(group: Sequence[ImageRef]) -> str:
    """Return what was understood of the images in a source."""
    ref = group[0]
    source = ref.source
    sides = " x ".join(map(str, source.shape))
    parts = [f"axes {ref.letters} of {sides}" if UNKNOWN not in ref.letters else f"{sides}, axes not all known"]
    if ref.n_channels > 1:
        name = f" ({ref.channel_name})" if ref.channel_name else ""
        parts.append(f"channel {ref.channel}{name} of {listed(ref.n_channels, source.channels)}")
    frames = len({place for image in group for axis, place in image.plane if axis == "T"})
    if frames:
        parts.append(f"{frames} frames" + (f" every {source.interval:g} s" if source.interval else ""))
    if ref.project is not None:
        parts.append(f"{ref.project} of the planes along Z")
    elif "Z" in ref.axes:
        parts.append("volumes" if len(group) > 1 else "a volume")
    elif any(axis == "Z" for axis, _ in ref.plane):
        parts.append("each plane along Z on its own")
    return ", ".join(parts)


def _tally(values: Iterable[str]) -> str:
    counts = Counter(values).most_common()
    if len(counts) == 1:
        return counts[0][0]
    return some([f"{value} ({count})" for value, count in counts])


def _iterated(plane: tuple[tuple[str, int], ...]) -> str:
    return f" (each plane along {''.join(letter for letter, _ in plane)})" if plane else ""


def _text(source: Source) -> str:
    return os.fspath(source) if isinstance(source, str | os.PathLike) else ", ".join(map(str, source))
