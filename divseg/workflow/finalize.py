"""``divseg finalize``: tables and report of a run folder whose images were worked on in shards."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from divseg.config import RunConfig, refuse_code
from divseg.errors import DivsegError, InputError, one_line
from divseg.io.json_file import read_json
from divseg.results.run_record import check_record
from divseg.workflow.calibrate import calibrate_run
from divseg.workflow.denoise import DenoiseSettings, denoise_folder
from divseg.workflow.engine import Result
from divseg.workflow.evaluate import evaluate_folder
from divseg.workflow.fuse import fuse_folder
from divseg.workflow.ocr import ReadSettings, read_folder
from divseg.workflow.progress import Reporter
from divseg.workflow.run import run
from divseg.workflow.segment import segment_folder
from divseg.workflow.sharing import Options
from divseg.workflow.simulate import simulate_run


def finalize(folder: str | os.PathLike[str], *, allow_code: bool = False, reporter: Reporter | None = None) -> Result:
    """Make tables and report of a run folder whose images were worked on in shards.

    Nothing is worked on: an image that is not finished is a row of failures.csv.

    Parameters
    ----------
    folder : path
        Run folder.
    allow_code : bool
        Accept a segmenter ``python:module:function`` that its run.json names.
    reporter : Reporter, optional
        Told what is done.

    Returns
    -------
    Result

    Raises
    ------
    InputError
        If it is not a run folder.
    ConfigError
        If its run.json names code that is not allowed.
    """
    record = _record(folder)
    arguments = record.get("invocation")
    if not isinstance(arguments, dict):
        raise InputError(f"{folder}: its run.json does not say what was run; run the command again")
    arguments, options = dict(arguments), Options(finalize=True)
    if not allow_code:
        for segmenter in _segmenters(arguments):
            refuse_code(segmenter)
    shared: dict[str, Any] = {"out": folder, "reporter": reporter}
    try:
        return _finalize(folder, record["command"], arguments, options, shared)
    except DivsegError:
        raise
    except (TypeError, ValueError, KeyError, AttributeError) as error:  # of arguments that no command has
        raise InputError(f"{folder}: what its run.json says of the command is damaged ({one_line(error)})") from error


def _segmenters(arguments: Mapping[str, Any]) -> list[Any]:
    """Return the segmenters that the record of a command names."""
    parts = [arguments.get("settings")]
    parts += [parts[0].get("segmentation")] if isinstance(parts[0], dict) else []
    return [part.get("segmenter") for part in (arguments, *parts) if isinstance(part, Mapping)]


def _finalize(
    folder: str | os.PathLike[str],
    command: str,
    arguments: dict[str, Any],
    options: Options,
    shared: dict[str, Any],
) -> Result:
    """Start the command again, to write its tables and report alone."""
    match command:
        case "run":
            config = RunConfig.make(**arguments.pop("settings"))
            return run(arguments.pop("source"), config=config, finalize=True, **arguments, **shared)
        case "denoise":
            settings = arguments.pop("settings")
            chosen = DenoiseSettings(**{**settings, "keep_samples": tuple(settings["keep_samples"])})
            return denoise_folder(**arguments, settings=chosen, options=options, **shared)
        case "ocr":
            return read_folder(
                **arguments | {"settings": ReadSettings(**arguments["settings"])}, options=options, **shared
            )
        case "segment":
            return segment_folder(**arguments, options=options, **shared)
        case "fuse":
            return fuse_folder(**arguments, options=options, **shared)
        case "evaluate":
            return evaluate_folder(**arguments, options=options, **shared)
        case "calibrate":
            return calibrate_run(**arguments, options=options, **shared)
        case "simulate":
            return simulate_run(**arguments, allow_code=True, options=options, **shared)  # nothing is run
        case other:
            raise InputError(f"{folder} holds the results of divseg {other}, which has no shards")


def _record(folder: str | os.PathLike[str]) -> dict[str, Any]:
    path = Path(folder) / "run.json"
    try:
        record = check_record(read_json(path))
    except (OSError, ValueError) as error:
        raise InputError(f"{folder} is not a run folder: its run.json cannot be read ({one_line(error)})") from error
    if "command" not in record:
        raise InputError(f"{folder} is not a run folder of this version: its run.json names no command")
    return record
