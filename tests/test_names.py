"""One name, one meaning: no public name is defined in two packages, and texts avoid words that the glossary replaces."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "hardneg"
SOURCES = [path for folder in ("src", "reproduction", "benchmarks") for path in sorted((ROOT / folder).rglob("*.py"))]
REPLACED = (
    r"floors?|house|orchard|foretold|foretell|ledger|secretly|learnt|rivals?|twins?|nobody|whoever|served|heard|"
    r"held against|grown"
)
"""Words of the former vocabulary; docs/glossary.md has the terms in their place."""
PURPOSES = ('"rivals of held-out labels"',)
"""Purposes of random streams: another text would draw other numbers."""


def public_names(module: ast.Module) -> set[str]:
    """Classes, functions and type aliases that a module defines, not those that it imports."""
    names = set()
    for node in module.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            alias = node.targets[0].id
            names |= set() if alias.isupper() or "_" in alias else {alias}
    return {name for name in names if not name.startswith("_") and name[0].isalpha()}


def test_no_public_name_has_two_definitions() -> None:
    """An alias counts where it is written like a class; constants and the `app` of a command group do not."""
    packages: dict[str, set[str]] = defaultdict(set)
    for path in sorted(PACKAGE.rglob("*.py")):
        package = path.relative_to(PACKAGE).parts[0]
        for name in public_names(ast.parse(path.read_text(encoding="utf-8"))):
            packages[name].add(package)
    twice = {name: sorted(found) for name, found in packages.items() if len(found) > 1}
    assert twice == {}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_texts_use_the_terms_of_the_glossary(path: Path) -> None:
    """Docstrings, messages, help texts and comments."""
    found = [
        (token.start[0], match.group())
        for token in tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline)
        if token.type in (tokenize.STRING, tokenize.COMMENT) and token.string not in PURPOSES
        for match in re.finditer(rf"\b({REPLACED})\b", token.string.lower())
    ]
    assert found == []
