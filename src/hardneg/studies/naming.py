"""Names of folders, from the names in a study file."""

from __future__ import annotations

import re
from collections.abc import Iterable


def slug(name: str) -> str:
    """Return a name as a folder name: lower case, with a dash for every other sign."""
    return re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-.")


def shared_folder_problems(names: Iterable[str], section: str) -> list[str]:
    """Return a problem for every two names that would have the same folder."""
    first_with: dict[str, str] = {}
    problems = []
    for name in names:
        other = first_with.setdefault(slug(name), name)
        if other != name:
            problems.append(f"{section}: {other!r} and {name!r} would share the folder {slug(name)!r}; rename one")
    return problems
