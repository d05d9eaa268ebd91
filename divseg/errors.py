"""Errors and warnings that speak to the user.

Every error a user can cause is a :class:`DivsegError`: one line that says what is wrong, with which file
or value, and what to do about it. The command line prints that line and exits with code 2.
"""

from __future__ import annotations


class DivsegError(Exception):
    """Base of all errors that divseg raises on purpose."""


class InputError(DivsegError, ValueError):
    """An image, mask or argument that cannot be worked with."""


class ConfigError(DivsegError, ValueError):
    """An unknown or impossible setting."""


class ModelError(DivsegError, ValueError):
    """A model folder that is missing, incomplete or damaged."""


class TrainingError(DivsegError, RuntimeError):
    """Training did not give a usable model."""


class OutputError(DivsegError, OSError):
    """A result could not be written."""


class ExtraRequired(DivsegError, ImportError):
    """An optional dependency is not installed; the message names the extra."""


class DivsegWarning(UserWarning):
    """Something the user should know, though the work goes on."""
