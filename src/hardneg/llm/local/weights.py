"""Causal language models from a folder or the hub: safetensors only, no remote code, local copies first."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from hardneg.artifacts import folder_hash
from hardneg.errors import ConfigError
from hardneg.llm.local.grammar import Grammars
from hardneg.llm.local.prompting import PromptTokens
from hardneg.llm.protocol import LlmError

ModelHead = Literal["language model", "hidden states"]


@dataclass(frozen=True)
class ModelSource:
    """The files of a model and how to load them.

    location: a folder, or a name on the hub. device: a torch device; weights have 32 bits on the CPU, otherwise 16
    (bfloat16). four_bit: weights in 4 bits (NF4, computing in bfloat16); needs bitsandbytes. display_name: name to show
    instead of the folder's.
    """

    location: str
    device: str = "cpu"
    four_bit: bool = False
    display_name: str = ""

    @property
    def is_folder(self) -> bool:
        """True for a folder on this machine, False for a name on the hub."""
        return Path(self.location).is_dir()

    @property
    def name(self) -> str:
        """Name without a path: the display name, the folder's name or the name on the hub."""
        return self.display_name or (Path(self.location).resolve().name if self.is_folder else self.location)

    @property
    def precision(self) -> str:
        """Data type of the weights: "float32", "bfloat16" or "nf4"."""
        if self.four_bit:
            return "nf4"
        return "float32" if self.device == "cpu" else "bfloat16"

    def identity(self) -> str:
        """Return the content hash of a folder, or a hub name with its commit, followed by the precision."""
        if self.is_folder:
            return f"{folder_hash(Path(self.location))}:{self.precision}"
        return f"{self.location}@{self._commit or 'unknown'}:{self.precision}"

    @cached_property
    def context_length(self) -> int | None:
        """Maximum number of tokens; None if the model's settings do not give it."""
        config = self._config.get_text_config()
        names = ("max_position_embeddings", "n_positions", "seq_length")
        lengths = [int(length) for name in names if (length := getattr(config, name, None))]
        return min(lengths) if lengths else None

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
        if not self.four_bit:  # bitsandbytes has moved it already
            model = model.to(self.device)
        if head == "language model":  # drop the folder's sampling settings, keep its end tokens
            ends = model.generation_config.eos_token_id
            model.generation_config = GenerationConfig(eos_token_id=ends)  # type: ignore[no-untyped-call]
        return model.eval()

    def _revision(self) -> dict[str, Any]:
        return {} if self.is_folder else {"revision": self._commit or "main"}

    def _quantization(self) -> dict[str, Any]:
        if not self.four_bit:
            return {}
        if find_spec("bitsandbytes") is None or find_spec("accelerate") is None:
            raise ConfigError("4 bits need bitsandbytes and accelerate; run pip install 'hardneg[four-bit]'")
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

    @property
    def pad(self) -> int:
        """Padding token; masked, so any token will do."""
        own = self.prompts.tokenizer.pad_token_id
        return self.ends[0] if own is None else int(own)


def _dtype(precision: str) -> Any:
    import torch

    return torch.float32 if precision == "float32" else torch.bfloat16


def _load(kind: Any, source: ModelSource, **options: Any) -> Any:
    """Load from local copies, otherwise from the hub unless it is switched off."""
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # hardneg shows its own
    problem, verbosity = "", logging.get_verbosity()
    offline = os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0")
    for local in (True,) if source.is_folder or offline else (True, False):
        logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # missing weights are reported by the caller
        try:
            return kind.from_pretrained(source.location, trust_remote_code=False, local_files_only=local, **options)
        except Exception as error:  # noqa: BLE001 - these libraries raise any type, Exception itself included
            problem = (str(error).splitlines() or [type(error).__name__])[0]
        finally:
            logging.set_verbosity(verbosity)
    problem = problem.replace(source.location, source.name)
    raise ConfigError(f"model {source.name!r} cannot be loaded ({problem}); give a folder or hub name with safetensors")
