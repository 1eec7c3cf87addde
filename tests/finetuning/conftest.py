"""One tiny base of every family per session."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.finetuning.tiny import make_base

Bases = Callable[[str], Path]


@pytest.fixture(scope="session")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Bases:
    """Folder of a family's tiny base, made at the first use."""
    root, made = tmp_path_factory.mktemp("bases"), dict[str, Path]()

    def base(family: str) -> Path:
        if family not in made:
            made[family] = make_base(root / f"tiny-{family}", family)
        return made[family]

    return base
