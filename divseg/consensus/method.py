"""Fusion methods as short strings: ``"voting,scheme=simple"``, as segmenters are named."""

from __future__ import annotations

import difflib
import inspect
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from divseg.errors import InputError

COMMON = ("target", "existence", "seed")
"""Settings that every method may be given, whether it uses them or not."""

_ARRAYS = ("stack", "markers")
"""Parameters of methods that no text can give."""

_FLAGS = {"true": True, "yes": True, "false": False, "no": False}


def parse_method(text: str, methods: Mapping[str, Callable[..., Any]]) -> tuple[str, dict[str, Any]]:
    """Split a string into a method and its options, read and checked for their type.

    Parameters
    ----------
    text : str
        A name, or a name and options: ``"mutex,foreground=0.4,offsets=3 9"``.
    methods : mapping of str to function
        The methods; their parameters are the options.

    Raises
    ------
    InputError
        Unknown method or option (with the nearest known one), an option without a value or given twice, or a value of
        the wrong type.
    """
    name, *parts = (part.strip() for part in str(text).split(","))
    known("method", name, methods)
    kinds = {k: v for k, v in typing.get_type_hints(methods[name]).items() if k in options_of(methods[name])}
    found: dict[str, Any] = {}
    for part in parts:
        option, equals, value = (word.strip() for word in part.partition("="))
        if not (option and equals and value):
            raise InputError(f"method {text!r}: {part!r} is no option; write name=value, as in voting,scheme=simple")
        if option in _ARRAYS or option not in kinds:
            check_option(name, option, [k for k in kinds if k not in _ARRAYS])
        if option in found:
            raise InputError(f"method {text!r}: option {option} is given twice; keep one of them")
        try:
            found[option] = _read(value, kinds[option])
        except ValueError as error:
            raise InputError(f"option {option}={value} of method {name!r} must be {error}") from None
    return name, found


def options_of(function: Callable[..., Any]) -> list[str]:
    """Return the names of the options of a method's own."""
    return [name for name in inspect.signature(function).parameters if name not in ("stack", *COMMON)]


def check_option(method: str, name: str, options: Iterable[str]) -> None:
    """Raise InputError for an option that a method does not have."""
    own = list(options)
    if name not in own:
        hint = _nearest(name, own)
        raise InputError(f"method {method!r} has no option {name!r}{hint} (options: {', '.join(own) or 'none'})")


def known(what: str, name: str, names: Iterable[str]) -> None:
    """Raise InputError for a word that is not among those known."""
    names = list(names)
    if name not in names:
        raise InputError(f"unknown {what} {name!r}{_nearest(name, names)} ({what}s: {', '.join(names)})")


def _read(text: str, kind: Any) -> Any:
    if kind is str:
        return text
    if kind in (bool, bool | None):
        if text.lower() not in _FLAGS:
            raise ValueError("true or false")
        return _FLAGS[text.lower()]
    try:
        return (float if kind is float else int)(text) if kind in (float, int) else tuple(map(int, text.split()))
    except ValueError:
        many = "whole numbers with blanks between them"
        raise ValueError({float: "a number", int: "a whole number"}.get(kind, many)) from None


def _nearest(name: str, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(str(name), list(names), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
