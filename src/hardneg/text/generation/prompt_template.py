"""Prompts kept as files: a head of a few settings, what the system says, and the frame into which data goes."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import yaml
from pydantic import PositiveInt

from hardneg.config import Config, parse_config
from hardneg.errors import ConfigError
from hardneg.llm.protocol import Message

PROMPT_NAMES = ("item_profile", "user_profile", "negative", "negatives", "negative_title")
PARTS = re.compile(r"\A---\n(?P<head>.*?)\n---\n## system\n(?P<system>.*?)\n## user\n(?P<user>.*)\Z", re.DOTALL)
PLACEHOLDER = re.compile(r"\{\{(\w+)\}\}")


class PromptHeader(Config):
    """What stands above a prompt."""

    name: str
    version: PositiveInt
    answer_words: PositiveInt
    """The most words that the prompt asks for."""
    answer_tokens: PositiveInt
    """The most tokens that an answer may take; head-room included, since a cut answer is no JSON."""


@dataclass(frozen=True)
class PromptTemplate:
    """A prompt as its file has it.

    digest: hex SHA-256 of the file, for manifests: another wording is another prompt, whatever its version says.
    """

    head: PromptHeader
    system: str
    user: str
    digest: str

    def render(self, **blocks: str) -> tuple[Message, ...]:
        """The messages, each place {{name}} of the user part filled with the block of that name.

        All places are filled in one pass, so that what looks like a place within a block stays as it is. Raises
        ConfigError where places and blocks do not match.
        """
        places = set(PLACEHOLDER.findall(self.user))
        if places != set(blocks):
            raise ConfigError(
                f"prompt {self.head.name} has places {sorted(places)}, found blocks {sorted(blocks)}; give each place one"
            )
        said = PLACEHOLDER.sub(lambda place: blocks[place[1]], self.user)
        return Message("system", self.system), Message("user", said)


def read_prompt(text: str) -> PromptTemplate:
    """Read a prompt file: front matter (YAML), "## system", "## user". Raises ConfigError where a part is missing."""
    text = text.replace("\r\n", "\n")
    parts = PARTS.match(text)
    if parts is None:
        raise ConfigError(
            f"found a prompt that begins {text[:30]!r}, expected front matter between --- lines, then ## system and ## user"
        )
    head = parse_config(PromptHeader, yaml.safe_load(parts["head"]), where="prompt")
    digest = hashlib.sha256(text.encode()).hexdigest()
    return PromptTemplate(head, parts["system"].strip(), parts["user"].strip(), digest)


@cache
def load_prompt(name: str) -> PromptTemplate:
    """One of our own prompts, by its name (NAMES)."""
    if name not in PROMPT_NAMES:
        raise ConfigError(f"found prompt {name!r}, expected one of {', '.join(PROMPT_NAMES)}")
    return read_prompt((files("hardneg.text.generation") / "prompts" / f"{name}.md").read_text(encoding="utf-8"))


def prompt_digests(*names: str) -> Mapping[str, str]:
    """Name and version -> digest, for the manifest of what these prompts helped to make."""
    return {f"{name} {load_prompt(name).head.version}": load_prompt(name).digest for name in names}
