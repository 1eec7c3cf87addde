"""Unfinished work on disk: one safetensors file, written beside and renamed, holds tensors, Adam's moments and a state."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor
from torch.optim import Optimizer

from hardneg import artifacts
from hardneg.errors import ConfigError, DataError

NAME = "checkpoint.safetensors"
ADAM = "adam"

Tensors = Mapping[str, Mapping[str, Tensor]]
"""Group -> name -> tensor."""


@dataclass(frozen=True)
class CheckpointFile:
    """Where unfinished work keeps its checkpoint, and under which key."""

    folder: Path
    key: str

    @property
    def path(self) -> Path:
        """The checkpoint's file."""
        return self.folder / NAME

    def save(self, groups: Tensors, adam: Optimizer, state: Mapping[str, Any]) -> None:
        """Write one file; equal work leaves equal bytes. state: anything that JSON holds. No group is called "adam", or has
        a slash in its name (ConfigError)."""
        if wrong := [name for name in groups if name == ADAM or "/" in name]:
            raise ConfigError(f"a part of a checkpoint cannot be called {wrong[0]!r}; choose another name")
        tensors = {f"{group}/{name}": value for group, some in groups.items() for name, value in some.items()}
        for number, moments in adam.state_dict()["state"].items():
            tensors |= {f"{ADAM}/{number}/{part}": value for part, value in moments.items()}
        # One entry: safetensors writes several in an order of chance.
        metadata = {"saved": json.dumps({"key": self.key, "state": dict(state)})}
        contiguous = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
        artifacts.replace_file(self.path, save(contiguous, metadata=metadata))

    def load(self) -> Checkpoint | None:
        """What `save` wrote; None where there is nothing to go on from. Raises DataError where it cannot be read, or is of
        another key."""
        if not self.path.is_file():
            return None
        try:
            with safe_open(self.path, framework="pt") as file:
                metadata = file.metadata()
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        except Exception as error:  # noqa: BLE001 - safetensors raises a type of its own
            raise DataError(f"{self.path} cannot be read ({error}); remove it to start again") from None
        if "saved" not in (metadata or {}):
            raise DataError(
                f"{self.path} was written by another version; go on with that one, or remove it to start again"
            )
        saved = json.loads(metadata["saved"])
        if saved["key"] != self.key:
            raise DataError(f"{self.path} belongs to other settings or inputs; remove it to start again")
        return Checkpoint(tensors, saved["state"])


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint held. tensors: "group/name" -> tensor."""

    tensors: dict[str, Tensor]
    state: dict[str, Any]

    def group(self, name: str) -> dict[str, Tensor]:
        """The tensors of one group."""
        prefix = f"{name}/"
        return {full.removeprefix(prefix): value for full, value in self.tensors.items() if full.startswith(prefix)}

    def restore(self, adam: Optimizer) -> None:
        """Put Adam's moments back."""
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in self.group(ADAM).items():
            number, _, part = name.partition("/")
            moments.setdefault(int(number), {})[part] = value
        adam.load_state_dict({**adam.state_dict(), "state": moments})
