"""Causal language models of a folder or of the hub: safetensors alone, no remote code, local copies first."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from hardneg.artifacts import folder_hash
from hardneg.errors import ConfigError

ModelHead = Literal["language model", "hidden states"]


@dataclass(frozen=True)
class ModelSource:
    """Where a model's files are.

    location: a folder, or a name on the hub. device: as torch names it; on the CPU numbers have 32 bits, elsewhere 16
    (bfloat16). four_bit: hold the weights in 4 bits (NF4, computing in bfloat16), which needs bitsandbytes. called: what
    to name it where the folder's name says little.
    """

    location: str
    device: str = "cpu"
    four_bit: bool = False
    display_name: str = ""

    @property
    def is_folder(self) -> bool:
        """A folder of this machine, as against a name on the hub."""
        return Path(self.location).is_dir()

    @property
    def name(self) -> str:
        """The folder's own name, or the name on the hub; no path."""
        return self.display_name or (Path(self.location).resolve().name if self.is_folder else self.location)

    @property
    def precision(self) -> str:
        """How the weights are held."""
        if self.four_bit:
            return "nf4"
        return "float32" if self.device == "cpu" else "bfloat16"

    def identity(self) -> str:
        """A folder's content hash, wherever it lies, or a hub name with its commit; and how the weights are held."""
        if self.is_folder:
            return f"{folder_hash(Path(self.location))}:{self.precision}"
        return f"{self.location}@{self._commit or 'unknown'}:{self.precision}"

    @cached_property
    def _commit(self) -> str | None:
        """The commit that a hub name stands for; everything is taken from this one."""
        return getattr(self._config, "_commit_hash", None)

    @cached_property
    def context_length(self) -> int | None:
        """Tokens that the model can look at, None where its settings do not say."""
        config = self._config.get_text_config()
        found = [getattr(config, name, None) for name in ("max_position_embeddings", "n_positions", "seq_length")]
        known = [int(value) for value in found if value]
        return min(known) if known else None

    @cached_property
    def _config(self) -> Any:
        from transformers import AutoConfig

        return _load(AutoConfig, self)

    def tokenizer(self) -> Any:
        """The model's tokenizer. Raises ConfigError where there is none."""
        from transformers import AutoTokenizer

        tokenizer = _load(AutoTokenizer, self, **self._revision())
        if not getattr(tokenizer, "is_fast", False):
            raise ConfigError(
                f"model {self.name!r} has no fast tokenizer (tokenizer.json), which hardneg needs; add one"
            )
        return tokenizer

    def model(self, head: ModelHead = "language model") -> Any:
        """The network, ready to be asked; "hidden states": without its last layer. Raises ConfigError."""
        from transformers import AutoModel, AutoModelForCausalLM, GenerationConfig

        kind = AutoModelForCausalLM if head == "language model" else AutoModel
        made, report = _load(
            kind,
            self,
            dtype=_dtype(self.precision),
            use_safetensors=True,
            output_loading_info=True,
            **self._revision(),
            **self._quantised(),
        )
        if missing := sorted(report["missing_keys"]):
            raise ConfigError(
                f"model {self.name!r} lacks {len(missing)} of its weights (first: {missing[0]}); get its files again"
            )
        if not self.four_bit:  # bitsandbytes has put it there
            made = made.to(self.device)
        if head == "language model":  # what the folder's settings say of sampling is ours to decide, its ends are not
            ends = made.generation_config.eos_token_id
            made.generation_config = GenerationConfig(eos_token_id=ends)  # type: ignore[no-untyped-call]
        return made.eval()

    def _revision(self) -> dict[str, Any]:
        return {} if self.is_folder else {"revision": self._commit or "main"}

    def _quantised(self) -> dict[str, Any]:
        if not self.four_bit:
            return {}
        if find_spec("bitsandbytes") is None or find_spec("accelerate") is None:
            raise ConfigError("4 bits need bitsandbytes and accelerate; run pip install 'hardneg[four-bit]'")
        from transformers import BitsAndBytesConfig

        settings = BitsAndBytesConfig(  # type: ignore[no-untyped-call]
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=_dtype(self.precision)
        )
        return {"quantization_config": settings, "device_map": {"": self.device}}


def _dtype(precision: str) -> Any:
    import torch

    return torch.float32 if precision == "float32" else torch.bfloat16


def _load(kind: Any, source: ModelSource, **options: Any) -> Any:
    """From local copies, else from the hub unless it is switched off."""
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # our own progress follows
    problem, spoken = "", logging.get_verbosity()
    for local in (True,) if source.is_folder or _offline() else (True, False):
        logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # we look at the report ourselves
        try:
            return kind.from_pretrained(source.location, trust_remote_code=False, local_files_only=local, **options)
        except Exception as error:  # noqa: BLE001 - the libraries below raise what they like, bare Exception included
            problem = (str(error).splitlines() or [type(error).__name__])[0]
        finally:
            logging.set_verbosity(spoken)
    shown = problem.replace(source.location, source.name)
    raise ConfigError(f"model {source.name!r} cannot be loaded ({shown}); give a folder or hub name with safetensors")


def _offline() -> bool:
    return os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0")
