"""As what the shared folders of a grid were made, kept apart from them: a folder that stands need not be what the file asks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hardneg import artifacts

Asked = dict[str, Any]
"""An entry of the file with the settings of the run that it comes from, as JSON has them."""


def remember(path: Path, asked: Asked) -> None:
    """Note that a folder was made, or found, as this asks."""
    if remembered(path) != asked:
        path.parent.mkdir(parents=True, exist_ok=True)
        artifacts.replace_file(path, json.dumps(asked, indent=2).encode() + b"\n")


def remembered(path: Path) -> Asked | None:
    """As what it was made last; None where nothing was noted."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
