"""Causal language models from a folder or the hub: weights (safetensors only, no remote code), and prompts as tokens."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from hardneg.artifacts import folder_hash
from hardneg.errors import ConfigError
from hardneg.llm.local.gguf import silence_transformers, source_hash
from hardneg.llm.local.grammar import Grammars
from hardneg.llm.local.prefixes import PrefixCache
from hardneg.llm.protocol import LlmError, Message, Refusal
from hardneg.types import WeightPrecision

PLAIN = "plain"
"""Name of the format for models without a chat template."""
PLAIN_HEADS = {"system": "### System:\n", "user": "### User:\n", "assistant": "### Assistant:\n"}
_SLOT = re.compile("\ue000\\d+\ue001")


class PromptTokens:
    """A tokenizer with its chat format.

    A model without a chat template gets the format "plain": "### User:" and the like above each message. If a template
    takes no system role, the system message is put at the head of the first user message.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self._frames: dict[tuple[str, ...], tuple[list[str], list[int]]] = {}

    @property
    def format(self) -> str:
        """Source of the chat format: "chat template" (the model's own) or "plain"."""
        return "chat template" if self.tokenizer.chat_template else PLAIN

    @cached_property
    def chat_markers(self) -> tuple[str, ...]:
        """Every added token of the tokenizer except white space, special or not."""
        return tuple(sorted(token for token in self.tokenizer.get_added_vocab() if token.strip()))

    @cached_property
    def _marker_ids(self) -> frozenset[int]:
        """Ids of added tokens that could act as markers: special ones, and others that are no word or white space."""
        added = self.tokenizer.added_tokens_decoder.items()
        return frozenset(
            token_id
            for token_id, token in added
            if token.special or not (token.content.isalnum() or token.content.isspace())
        )

    def encode_chat(self, messages: Sequence[Message]) -> list[int] | Refusal:
        """Return the token ids of a prompt that ends where the answer begins.

        Its markers are exactly those that the format writes. If a message would add one, the messages are tokenized
        separately as plain text; if that does not help, the prompt is refused.
        """
        merged = self._merge_system(messages)
        roles, contents = [message.role for message in merged], [message.content for message in merged]
        pieces, expected = self._frame(tuple(roles))
        if len(pieces) != len(contents) + 1:
            return Refusal(f"the model's chat template does not take messages of the roles {', '.join(roles)}")
        text = "".join(part for pair in zip(pieces, [*contents, ""], strict=True) for part in pair)
        if re.search("[\ud800-\udfff]", text):
            return Refusal("the prompt holds half a surrogate pair, which no tokenizer takes; clean it first")
        ids = self._encode(text)
        if self._markers(ids) != expected:
            ids = self._encode_separately(pieces, contents)
        if self._markers(ids) != expected:
            return Refusal("a message holds chat markers of the model, which could open a turn; clean it first")
        return ids

    def count(self, messages: Sequence[Message]) -> int:
        """Return the number of tokens of a prompt; 0 if it is refused."""
        ids = self.encode_chat(messages)
        return 0 if isinstance(ids, Refusal) else len(ids)

    def encode_text(self, text: str) -> list[int]:
        """Return the token ids of a plain text, in which added tokens are not recognised."""
        backend = self.tokenizer.backend_tokenizer
        if backend.normalizer is not None:
            text = backend.normalizer.normalize_str(text)
        splitter = backend.pre_tokenizer
        parts = [text] if splitter is None else [part for part, _ in splitter.pre_tokenize_str(text)]
        return [token.id for part in parts if part for token in backend.model.tokenize(part)]

    @cached_property
    def start_tokens(self) -> list[int]:
        """Tokens that the tokenizer sets before a text, such as its beginning-of-text token."""
        return [token for token in self.tokenizer("").input_ids if token != self.tokenizer.eos_token_id]

    def _markers(self, ids: Sequence[int]) -> list[int]:
        return [token for token in ids if token in self._marker_ids]

    def _encode_separately(self, pieces: Sequence[str], contents: Sequence[str]) -> list[int]:
        ids = self._encode(pieces[0])
        for content, piece in zip(contents, pieces[1:], strict=True):
            ids += self.encode_text(content) + (self.tokenizer.encode(piece, add_special_tokens=False) if piece else [])
        return ids

    def _encode(self, text: str) -> list[int]:
        """Encode a text with its added tokens; in the plain format the tokenizer adds its start tokens."""
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=self.format == PLAIN)
        return ids[:-1] if self.format == PLAIN and ids[-1:] == [self.tokenizer.eos_token_id] else ids

    def _frame(self, roles: tuple[str, ...]) -> tuple[list[str], list[int]]:
        """Return the text around messages of these roles, and the markers in it."""
        if roles not in self._frames:
            pieces = self._pieces(roles)
            self._frames[roles] = (pieces, self._markers(self._encode("x".join(pieces))))
        return self._frames[roles]

    def _pieces(self, roles: tuple[str, ...]) -> list[str]:
        """Return the text before, between and after the messages; [] if the template raises, as some do at a role."""
        from jinja2 import TemplateError

        slots = [f"\ue000{number}\ue001" for number in range(len(roles))]
        if self.format == PLAIN:
            turns = [f"{PLAIN_HEADS[role]}{slot}\n\n" for role, slot in zip(roles, slots, strict=True)]
            return _SLOT.split("".join(turns) + PLAIN_HEADS["assistant"])
        chat = [{"role": role, "content": slot} for role, slot in zip(roles, slots, strict=True)]
        try:
            rendered: str = self.tokenizer.apply_chat_template(
                chat,
                tokenize=False,
                add_generation_prompt=True,
                enable_thinking=False,  # ignored by templates without this option
            )
        except TemplateError:
            return []
        return _SLOT.split(rendered)

    def _merge_system(self, messages: Sequence[Message]) -> Sequence[Message]:
        if self._takes_system or len(messages) < 2 or messages[0].role != "system":
            return messages
        system, first, *rest = messages
        return [Message(first.role, f"{system.content}\n\n{first.content}"), *rest]

    @cached_property
    def _takes_system(self) -> bool:
        return len(self._pieces(("system", "user"))) == 3


ModelHead = Literal["language model", "hidden states"]


@dataclass(frozen=True)
class ModelSource:
    """The files of a model and how to load them.

    location: a folder, or a name on the hub. device: a torch device. precision: of the weights; None is float32 on the
    CPU and bfloat16 elsewhere. nf4 computes in bfloat16 and needs bitsandbytes. display_name: name to show instead of the
    folder's.
    """

    location: str
    device: str = "cpu"
    precision: WeightPrecision | None = None
    display_name: str = ""

    def __post_init__(self) -> None:
        if self.precision is None:
            object.__setattr__(self, "precision", "float32" if self.device == "cpu" else "bfloat16")

    @property
    def is_folder(self) -> bool:
        """True for a folder on this machine, False for a name on the hub."""
        return Path(self.location).is_dir()

    @property
    def name(self) -> str:
        """Name without a path: the display name, the folder's name or the name on the hub."""
        return self.display_name or (Path(self.location).resolve().name if self.is_folder else self.location)

    def identity(self) -> str:
        """Return what the weights are, followed by the precision: a hash, or a hub name with its commit.

        The hash is that of a folder's content, or of the GGUF file that the folder was converted from, since other
        versions of libraries may convert it to other bytes.
        """
        if self.is_folder:
            folder = Path(self.location)
            return f"{source_hash(folder) or folder_hash(folder)}:{self.precision}"
        return f"{self.location}@{self._commit or 'unknown'}:{self.precision}"

    @cached_property
    def context_length(self) -> int | None:
        """Maximum number of tokens; None if the model's settings do not give it."""
        config = self._config.get_text_config()
        names = ("max_position_embeddings", "n_positions", "seq_length")
        lengths = [int(length) for name in names if (length := getattr(config, name, None))]
        return min(lengths) if lengths else None

    @cached_property
    def n_parameters(self) -> int:
        """Number of weights, estimated from the settings of a dense model."""
        config = self._config.get_text_config()
        width, inner = config.hidden_size, getattr(config, "intermediate_size", None) or 4 * config.hidden_size
        return int(config.num_hidden_layers * width * (4 * width + 3 * inner) + config.vocab_size * width)

    @cached_property
    def _config(self) -> Any:
        from transformers import AutoConfig

        return _load(AutoConfig, self)

    @cached_property
    def _commit(self) -> str | None:
        """Commit of a hub name; all files are taken from it."""
        return getattr(self._config, "_commit_hash", None)

    def tokenizer(self) -> Any:
        """Load the tokenizer. Raises ConfigError if there is no fast one."""
        from transformers import AutoTokenizer

        tokenizer = _load(AutoTokenizer, self, **self._revision())
        if not getattr(tokenizer, "is_fast", False):
            raise ConfigError(
                f"model {self.name!r} has no fast tokenizer (tokenizer.json), which hardneg needs; add one"
            )
        return tokenizer

    def model(self, head: ModelHead = "language model") -> Any:
        """Load the network for inference; "hidden states": without its output layer. Raises ConfigError."""
        from transformers import AutoModel, AutoModelForCausalLM, GenerationConfig

        model, report = _load(
            AutoModelForCausalLM if head == "language model" else AutoModel,
            self,
            dtype=_dtype(self.precision),
            use_safetensors=True,
            output_loading_info=True,
            **self._revision(),
            **self._quantization(),
        )
        if missing := sorted(report["missing_keys"]):
            raise ConfigError(
                f"model {self.name!r} lacks {len(missing)} of its weights (first: {missing[0]}); get its files again"
            )
        if self.precision != "nf4":  # bitsandbytes has moved it already
            model = model.to(self.device)
        if head == "language model":  # drop the folder's sampling settings, keep its end tokens
            ends = model.generation_config.eos_token_id
            model.generation_config = GenerationConfig(eos_token_id=ends)  # type: ignore[no-untyped-call]
        return model.eval()

    def _revision(self) -> dict[str, Any]:
        return {} if self.is_folder else {"revision": self._commit or "main"}

    def _quantization(self) -> dict[str, Any]:
        if self.precision != "nf4":
            return {}
        if find_spec("bitsandbytes") is None or find_spec("accelerate") is None:
            raise ConfigError("precision nf4 needs bitsandbytes and accelerate; run pip install 'hardneg[four-bit]'")
        from transformers import BitsAndBytesConfig

        settings = BitsAndBytesConfig(  # type: ignore[no-untyped-call]
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=_dtype(self.precision)
        )
        return {"quantization_config": settings, "device_map": {"": self.device}}


class LoadedModel:
    """Network, tokenizer and grammars of a model, each loaded on first use.

    lock: to be held while the network runs, since only one thread may use it.
    """

    def __init__(self, source: ModelSource, head: ModelHead = "language model") -> None:
        self._source, self._head = source, head
        self.lock = threading.Lock()

    @cached_property
    def prompts(self) -> PromptTokens:
        """The tokenizer with its chat format."""
        return PromptTokens(self._source.tokenizer())

    @cached_property
    def model(self) -> Any:
        """The network."""
        return self._source.model(self._head)

    @cached_property
    def prefixes(self) -> PrefixCache:
        """Keys and values of prompt prefixes."""
        return PrefixCache(self.model)

    @cached_property
    def grammars(self) -> Grammars:
        """Automata of JSON schemas."""
        return Grammars(self.prompts.tokenizer, self.ends[0])

    @cached_property
    def ends(self) -> list[int]:
        """Tokens that end an answer: the tokenizer's first, then those of the model's settings."""
        own, named = self.prompts.tokenizer.eos_token_id, self.model.generation_config.eos_token_id
        named = [named] if isinstance(named, int) else list(named or [])
        ends = list(dict.fromkeys([*([] if own is None else [own]), *named]))
        if not ends:
            raise LlmError(f"model {self._source.name!r} names no end token; set eos_token in its tokenizer")
        return ends

    def unload(self) -> None:
        """Let go of the network, which is loaded again when needed."""
        with self.lock:
            for name in ("model", "prefixes"):  # prefixes hold the network
                self.__dict__.pop(name, None)

    @property
    def pad(self) -> int:
        """Padding token; masked, so any token will do."""
        own = self.prompts.tokenizer.pad_token_id
        return self.ends[0] if own is None else int(own)


def _dtype(precision: WeightPrecision | None) -> Any:
    import torch

    return torch.float32 if precision == "float32" else torch.bfloat16


def _load(kind: Any, source: ModelSource, **options: Any) -> Any:
    """Load from local copies, otherwise from the hub unless it is switched off."""
    problem = ""
    offline = os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0")
    for local in (True,) if source.is_folder or offline else (True, False):
        try:
            with silence_transformers():
                return kind.from_pretrained(source.location, trust_remote_code=False, local_files_only=local, **options)
        except Exception as error:  # noqa: BLE001 - these libraries raise any type, Exception itself included
            problem = (str(error).splitlines() or [type(error).__name__])[0]
    problem = problem.replace(source.location, source.name)
    raise ConfigError(f"model {source.name!r} cannot be loaded ({problem}); give a folder or hub name with safetensors")
