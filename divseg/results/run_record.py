"""What run.json may hold: the types that readers of a run folder rely on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from divseg.results.marker import FORMAT

_NUMBER = (int, float, type(None))
_TEXT = (str, type(None))
_TYPES: dict[str, tuple[type, ...]] = {
    "command": (str,),
    "divseg": _TEXT,
    "segmenter": _TEXT,
    "device": _TEXT,
    "created": _TEXT,
    "config": (dict, type(None)),
    "training": (dict, type(None)),
    "calibration": (dict, type(None)),
    "timings": (dict, type(None)),
    "versions": (dict, type(None)),
    "invocation": (dict, type(None)),
    "inputs": (list,),
    "left_out": (list,),
}
_TRAINING: dict[str, tuple[type, ...]] = {"steps": _NUMBER, "seconds": _NUMBER, "megapixels": _NUMBER}
_CALIBRATION: dict[str, tuple[type, ...]] = {
    "source": _TEXT,
    "iou": _NUMBER,
    "coverage": _NUMBER,
    "check": (dict, type(None)),
    "reliability": (dict, type(None)),
}
_INPUT: dict[str, tuple[type, ...]] = {"name": (str,), "path": (str,)}
_LEFT_OUT: dict[str, tuple[type, ...]] = {"file": (str,), "reason": (str,)}


def check_record(record: Any) -> dict[str, Any]:
    """Return the content of run.json after a look at its types.

    Raises
    ------
    ValueError
        If it is not an object, or a value in it has a type that divseg never writes there. What another version of
        divseg wrote is not looked at.
    """
    if not isinstance(record, dict):
        raise ValueError(f"it holds a {type(record).__name__}, not an object")
    if record.get("format") != FORMAT:
        return record
    _check(record, _TYPES, "")
    _check(record.get("training") or {}, _TRAINING, "training.")
    _check(record.get("calibration") or {}, _CALIBRATION, "calibration.")
    noise = (record.get("training") or {}).get("noise")
    if isinstance(noise, dict):
        _check(noise, {"a": _NUMBER, "b": _NUMBER}, "training.noise.")
    for value in ((record.get("calibration") or {}).get("check") or {}).values():
        _kind(value, _NUMBER, "calibration.check")
    for rows in ((record.get("calibration") or {}).get("reliability") or {}).values():
        _kind(rows, (list,), "calibration.reliability")
        for row in rows:
            _kind(row, (list,), "calibration.reliability")
            if len(row) != 3:
                raise ValueError(f"calibration.reliability has {len(row)} numbers in a row, not 3")
            for value in row:
                _kind(value, (int, float), "calibration.reliability")
    for value in (record.get("timings") or {}).values():
        _kind(value, (int, float), "timings")
    for name, types in (("inputs", _INPUT), ("left_out", _LEFT_OUT)):
        for row in record.get(name, []):
            _kind(row, (dict,), name)
            _check(row, types, f"{name}.")
    for row in record.get("inputs", []):
        if "name" not in row:
            raise ValueError("an input without a name")
    return record


def _check(values: Mapping[str, Any], types: Mapping[str, tuple[type, ...]], where: str) -> None:
    for name, kinds in types.items():
        if name in values:
            _kind(values[name], kinds, where + name)


def _kind(value: Any, kinds: tuple[type, ...], where: str) -> None:
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise ValueError(f"{where} is a {type(value).__name__}, not {' or '.join(kind.__name__ for kind in kinds)}")
