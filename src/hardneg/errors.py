"""The package's own errors: one root, each child also a standard one."""

from __future__ import annotations


class HardnegError(Exception):
    """Something the user can mend: one line that says what was found, what was expected, what to do."""


class ConfigError(HardnegError, ValueError):
    """An option or a configuration file does not say what is needed."""


class DataError(HardnegError, ValueError):
    """A file or a table does not hold what is needed."""
