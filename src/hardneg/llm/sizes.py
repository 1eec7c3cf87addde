"""Number of parameters of a language model, from what is known of it by name."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

from hardneg.llm.packages.table import MODELS

UNITS = {"m": 1e6, "b": 1e9, "t": 1e12}


def find_parameters(name: str) -> float | None:
    """Return the number of parameters of a model as for --llm; None where it is unknown.

    That of a packaged model is published; that of a folder is counted in the headers of its safetensors files; otherwise the
    name may hold it, as in "Qwen2.5-7B-Instruct".
    """
    if name in MODELS:
        return MODELS[name].parameters * UNITS["m"]
    files = sorted(Path(name).glob("*.safetensors")) if Path(name).is_dir() else []
    if files:
        return float(sum(map(_count_weights, files)))
    found = re.findall(r"(?<![\w.])(\d+(?:\.\d+)?)([mbt])(?![a-z0-9])", re.split(r"[/#]", name.lower())[-1])
    return float(found[-1][0]) * UNITS[found[-1][1]] if found else None


def _count_weights(file: Path) -> int:
    """Return the number of weights in a file, from its header."""
    with file.open("rb") as stream:
        header = json.loads(stream.read(int.from_bytes(stream.read(8), "little")))
    return sum(math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")
