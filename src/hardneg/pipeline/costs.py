"""What an artifact needed of language models: its own stage and all stages before it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hardneg.artifacts import COSTS


@dataclass(frozen=True)
class LlmNeeds:
    """Replies, tokens and dollars (None where a price is unknown), paid by this or by earlier runs."""

    calls: int = 0
    tokens: int = 0
    money: float | None = 0.0

    def __add__(self, other: LlmNeeds) -> LlmNeeds:
        money = None if self.money is None or other.money is None else self.money + other.money
        return LlmNeeds(self.calls + other.calls, self.tokens + other.tokens, money)

    def as_costs(self) -> dict[str, Any]:
        """Return the entry of costs.json."""
        return {"needed": asdict(self)}

    def without_own_calls(self) -> dict[str, Any]:
        """Return the costs.json of a stage that called no language model itself."""
        return self.as_costs() | {"llm_calls": 0, "llm_tokens": 0, "money": 0.0}


def needs_of(folder: Path | None) -> LlmNeeds:
    """Return what an artifact's costs.json says was needed; nothing where it has none."""
    path = None if folder is None else folder / COSTS
    if path is None or not path.is_file():
        return LlmNeeds()
    return LlmNeeds(**json.loads(path.read_text(encoding="utf-8")).get("needed", {}))
