"""Every command that a page shows exists, with the options shown; every command is on a page."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from tests.docs.pages import ROOT, pages, prose

from hardneg.cli.main import app

COMMANDS: Any = typer.main.get_command(app)
PAGES = [page for page in pages() if page.name != "CHANGELOG.md"]
STUDIES = [
    file for folder in ("studies", "src/hardneg/studies/ready") for file in sorted((ROOT / folder).glob("*.yaml"))
]
FILES = [*PAGES, *STUDIES, ROOT / "Makefile"]


def leaves(group: Any, name: str = "") -> Iterator[str]:
    """Yield the full name of every command."""
    if not hasattr(group, "commands"):
        yield name
        return
    for word, command in group.commands.items():
        yield from leaves(command, f"{name} {word}".strip())


def shown(file: Path) -> Iterator[list[str]]:
    """Yield the words after `hardneg` of every command in a file, up to the end of the line or of the inline code."""
    text = re.sub(r"\\\n(# +)?", " ", file.read_text(encoding="utf-8"))
    if file.suffix == ".md":
        fenced = re.findall(r"^```\w*$(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
        text = "\n".join([*fenced, *re.findall(r"`([^`\n]+)`", prose(file))])
    for line in re.findall(r"(?:^|/|^# +|do |&& |\()hardneg ([a-z].*)", text, flags=re.MULTILINE):
        yield shlex.split(re.split(r"[;#)]|&&", line)[0])


@pytest.mark.parametrize("file", [pytest.param(file, id=str(file.relative_to(ROOT))) for file in FILES])
def test_commands_exist_with_these_options(file: Path) -> None:
    for words in shown(file):
        command, rest = COMMANDS, list(words)
        while hasattr(command, "commands") and rest and rest[0] in command.commands:
            command = command.commands[rest.pop(0)]
        assert not hasattr(command, "commands") or not rest, f"hardneg {' '.join(words)}: no such command"
        known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        used = {word.partition("=")[0] for word in rest if word.startswith("-") and not re.match(r"-[\d.]", word)}
        assert used - {"--help"} <= known, f"hardneg {' '.join(words)}: {used - known}"


def test_every_command_is_on_a_page() -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    imports = {name for name in leaves(COMMANDS) if name.startswith("data import ")}
    missing = [name for name in leaves(COMMANDS) if name not in text]
    assert set(missing) <= imports, missing
