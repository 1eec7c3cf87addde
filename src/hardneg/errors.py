"""Errors of the package: one root, each child also a standard exception."""

from __future__ import annotations


class HardnegError(Exception):
    """Base of errors that a user can fix.

    The message is one line: what was found, what was expected, what to do.
    """


class ConfigError(HardnegError, ValueError):
    """An option or a configuration file is invalid."""


class DataError(HardnegError, ValueError):
    """A file or a table is invalid."""


class DamagedError(DataError):
    """A file of ours is missing, or is not what was written."""


class TrainingDivergedError(HardnegError, ArithmeticError):
    """The loss or the embeddings are not finite."""
