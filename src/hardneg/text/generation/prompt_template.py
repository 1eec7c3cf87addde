"""Prompt templates, kept as files: a header of settings, the system message, and the user message with placeholders."""

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
PARTS = re.compile(r"\A---\n(?P<header>.*?)\n---\n## system\n(?P<system>.*?)\n## user\n(?P<user>.*)\Z", re.DOTALL)
PLACEHOLDER = re.compile(r"\{\{(\w+)\}\}")


class PromptHeader(Config):
    """Settings at the top of a prompt file."""

    name: str
    version: PositiveInt
    answer_words: PositiveInt
    """Maximum number of words that the prompt asks for."""
    answer_tokens: PositiveInt
    """Maximum tokens of an answer, with a margin: a truncated answer is invalid JSON."""


@dataclass(frozen=True)
class PromptTemplate:
    """A prompt file. digest: hex SHA-256 of the file, for manifests; it changes with the wording, unlike the version."""

    header: PromptHeader
    system: str
    user: str
    digest: str

    def render(self, **blocks: str) -> tuple[Message, ...]:
        """Return the messages, with each placeholder {{name}} of the user message replaced by the block of that name.

        Replaces all placeholders in one pass, so that placeholders inside blocks stay as they are. Raises ConfigError
        where placeholders and blocks do not match.
        """
        placeholders = set(PLACEHOLDER.findall(self.user))
        if placeholders != set(blocks):
            raise ConfigError(
                f"prompt {self.header.name} has placeholders {sorted(placeholders)}, found blocks {sorted(blocks)}; "
                "give one block per placeholder"
            )
        user = PLACEHOLDER.sub(lambda placeholder: blocks[placeholder[1]], self.user)
        return Message("system", self.system), Message("user", user)


def read_prompt(text: str) -> PromptTemplate:
    """Parse a prompt file: front matter (YAML), "## system", "## user". Raises ConfigError where a part is missing."""
    text = text.replace("\r\n", "\n")
    parts = PARTS.match(text)
    if parts is None:
        raise ConfigError(
            f"found a prompt that begins {text[:30]!r}, expected front matter between --- lines, then ## system and ## user"
        )
    header = parse_config(PromptHeader, yaml.safe_load(parts["header"]), where="prompt")
    digest = hashlib.sha256(text.encode()).hexdigest()
    return PromptTemplate(header, parts["system"].strip(), parts["user"].strip(), digest)


@cache
def load_prompt(name: str) -> PromptTemplate:
    """Load a packaged prompt, one of PROMPT_NAMES."""
    if name not in PROMPT_NAMES:
        raise ConfigError(f"found prompt {name!r}, expected one of {', '.join(PROMPT_NAMES)}")
    return read_prompt((files("hardneg.text.generation") / "prompts" / f"{name}.md").read_text(encoding="utf-8"))


def prompt_digests(*names: str) -> Mapping[str, str]:
    """Return the digest of each prompt by its name and version, for manifests."""
    return {f"{name} {load_prompt(name).header.version}": load_prompt(name).digest for name in names}
