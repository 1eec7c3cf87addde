"""What a folder needed of language models, its own stage and those before it together."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

NAME = "costs.json"


@dataclass(frozen=True)
class Needed:
    """Replies, tokens and dollars (None where a price is unknown), whoever paid for them and when."""

    calls: int = 0
    tokens: int = 0
    money: float | None = 0.0

    def __add__(self, other: Needed) -> Needed:
        money = None if self.money is None or other.money is None else self.money + other.money
        return Needed(self.calls + other.calls, self.tokens + other.tokens, money)

    def as_costs(self) -> dict[str, Any]:
        """For a costs.json."""
        return {"needed": asdict(self)}


def needed_by(folder: Path | None) -> Needed:
    """What a finished folder says in its costs.json; nothing where it has none."""
    path = None if folder is None else folder / NAME
    if path is None or not path.is_file():
        return Needed()
    return Needed(**json.loads(path.read_text(encoding="utf-8")).get("needed", {}))
