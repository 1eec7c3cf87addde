"""Models that emit hard-negative vectors: a language model that reads hybrid prompts, and a perceptron as control."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import pairwise
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat
from torch import Tensor, nn

from hardneg.config import Config, Seed, VectorSize
from hardneg.errors import ConfigError
from hardneg.finetuning import late_interaction
from hardneg.finetuning.inputs import ITEM, USER, EmbeddingSpace, EmbeddingSpaces, PromptBatch, Template, TemplateConfig
from hardneg.llm.local.weights import ModelSource
from hardneg.llm.names import known_source
from hardneg.text.encoders import MINILM, packaged_minilm
from hardneg.types import Progress, WeightPrecision

LLAMA_LIKE = ("q_proj", "k_proj", "v_proj", "o_proj")
BERT_LIKE = ("query", "key", "value", "attention.output.dense")
TARGETS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("llama", "qwen2", "qwen3", "mistral", "gemma", "gemma2", "gemma3_text"), LLAMA_LIKE),
    **dict.fromkeys(("bert", "roberta", "xlm-roberta", "camembert", "electra"), BERT_LIKE),
    "distilbert": ("q_lin", "k_lin", "v_lin", "out_lin"),
    "mpnet": ("attn.q", "attn.k", "attn.v", "attn.o"),
    "phi3": ("qkv_proj", "o_proj"),
}
"""Model type -> modules that LoRA adapts: the four projections of attention, as in the release."""


def base_model(
    name: str = MINILM,
    *,
    device: str = "cpu",
    precision: WeightPrecision | None = None,
    progress: Progress | None = None,
) -> ModelSource:
    """Locate a base model: minilm (all-MiniLM-L6-v2), a packaged model, gguf:FILE, a folder, or a name on the hub."""
    if name == MINILM:
        return ModelSource(str(packaged_minilm()), device, precision, display_name="MiniLM")
    known = known_source(name, device=device, precision=precision, progress=progress)
    return known or ModelSource(name, device, precision)


class EncoderConfig(Config):
    """Trained part of the model, and pooling of its last layer."""

    adapt: Literal["lora", "frozen", "full"] = "lora"
    """lora: train adapters; frozen: train the projection heads only; full: train all weights of the base (32 bits)."""
    rank: VectorSize = 32
    """Rank of LoRA's updates."""
    alpha: PositiveFloat = 64
    """LoRA's updates are scaled by alpha / rank. (The release comments its value out and gets the library's 8.)"""
    dropout: NonNegativeFloat = 0.05
    """Dropout of LoRA's inputs."""
    targets: tuple[str, ...] | None = None
    """Modules that LoRA adapts; by default those known for the model type."""
    pooling: Literal["by kind", "last", "mean"] = "by kind"
    """by kind: the last token of a decoder, the mean over the tokens of an encoder (the last with reading=apart)."""
    reading: Literal["joint", "apart"] = "joint"
    """joint: every layer reads user and item together, as in the paper. apart: late interaction; only an encoder's last
    layer does, for the prompt's end token, so that synthesis encodes each user and each item once."""
    seed: Seed = 0
    """Seed of the initialization of adapters and projection heads."""


class ProjectionHead(nn.Module):
    """Projection from one space into another: W2 ReLU(W1 x + b1) + b2, as Eq. 6 of HNLMRec.

    Inputs are divided by `scale_in`, outputs multiplied by `scale_out`. Both are fixed at construction, so that projected
    embeddings start with the norm of token embeddings.
    """

    scale_in: Tensor
    scale_out: Tensor

    def __init__(self, space: EmbeddingSpace, width: int, *, scale_out: float, rng: torch.Generator) -> None:
        super().__init__()
        size = space.size
        self.inner = _linear(size, width, variance=2 / size, rng=rng)
        self.outer = _linear(width, width, variance=1 / width, rng=rng)
        self.register_buffer("scale_in", torch.tensor(space.rms))
        self.register_buffer("scale_out", torch.tensor(scale_out))

    def forward(self, vectors: Tensor) -> Tensor:
        """Project (..., size) to (..., width)."""
        projected: Tensor = self.outer(torch.relu(self.inner(vectors / self.scale_in))) * self.scale_out
        return projected


class HardNegativeEncoder(nn.Module):
    """Emits a vector for every prompt; `label_head` projects labels into the space of these vectors.

    The paper does not say how a vector N is "fed" to a language model (Eq. 12). Here labels and item embeddings are
    projected by one trained MLP into the space of the model's output; they do not pass through the model. This has four
    consequences. The vectors used downstream (Eq. 6) are those that Eq. 12 shaped, without a head that is thrown away.
    Both sides of the product have one size. Label and positive differ in their values alone, since they share the MLP.
    Targets cannot collapse: mapping all labels to one point costs log(N + 1), the largest loss. By the data-processing
    inequality, log(N + 1) - loss is a lower bound of the information on the labels themselves.
    """

    def __init__(self, network: Any, config: EncoderConfig, *, spaces: EmbeddingSpaces) -> None:
        """network: a plain or a peft model that returns hidden states; its weights are kept, heads are initialized."""
        super().__init__()
        self.network, self.config, self.spaces = network, config, spaces
        self.decoder = is_decoder(self.inner.config)
        self.pooling = self._pooling()
        table = self.inner.get_input_embeddings()
        with torch.no_grad():
            sample = table(torch.arange(min(table.num_embeddings, 4096), device=table.weight.device))
            token_rms = float(sample.float().square().mean().sqrt()) or 1.0
        rng = torch.Generator().manual_seed(config.seed)
        width, self.width = table.embedding_dim, int(self.inner.config.get_text_config().hidden_size)
        self.user_head = ProjectionHead(spaces.users, width, scale_out=token_rms, rng=rng)
        self.item_head = ProjectionHead(spaces.items, width, scale_out=token_rms, rng=rng)
        self.label_head = ProjectionHead(spaces.labels, self.width, scale_out=1.0, rng=rng)
        self.heads.to(self.device)

    def _pooling(self) -> str:
        if self.config.reading == "joint":
            by_kind = "last" if self.decoder else "mean"
            return by_kind if self.config.pooling == "by kind" else self.config.pooling
        late_interaction.require_late_interaction(self.inner.config)
        if self.config.pooling == "mean":
            raise ConfigError("found pooling=mean with reading=apart, which has only the end token; use pooling=last")
        return "last"

    @property
    def inner(self) -> Any:
        """The network itself, including its adapters."""
        return self.network.get_base_model() if self.config.adapt == "lora" else self.network

    @property
    def heads(self) -> nn.ModuleDict:
        """The three projection heads: "user", "item", "label"."""
        return nn.ModuleDict({"user": self.user_head, "item": self.item_head, "label": self.label_head})

    @property
    def device(self) -> torch.device:
        """Device of the prompts."""
        device: torch.device = self.inner.get_input_embeddings().weight.device
        return device

    def trained_parameters(self) -> dict[str, nn.Parameter]:
        """Return name -> parameter for all that are trained."""
        return {name: value for name, value in self.named_parameters() if value.requires_grad}

    def forward(self, batch: PromptBatch) -> Tensor:
        """Return (batch, width) float32: the pooled last layer, not normalized; compare by cosine."""
        if self.config.reading == "apart":
            with self.autocast():
                return late_interaction.pair_vectors(self, batch).float()
        mask = torch.arange(batch.ids.shape[1], device=batch.lengths.device) < batch.lengths[:, None]
        with self.autocast():
            states = self.inner(
                inputs_embeds=self.embed(batch.ids, batch.users, batch.items),
                attention_mask=mask.long(),
                **({"use_cache": False} if self.decoder else {}),
            ).last_hidden_state.float()
        if self.pooling == "last":
            return last_states(states, batch.lengths)
        mean: Tensor = (states * mask[:, :, None]).sum(1) / batch.lengths[:, None]
        return mean

    def merge_adapter(self) -> bool:
        """Merge the adapter into 32-bit weights: the same vectors within rounding, faster; return True if merged.

        For synthesis only: a merged model can be neither tuned nor saved. Weights of 16 or 4 bits would be rounded, so
        they are left as they are.
        """
        if self.config.adapt != "lora" or self.inner.dtype != torch.float32:
            return False
        self.network.merge_adapter()
        return True

    def embed(self, ids: Tensor, users: Tensor | None, items: Tensor | None) -> Tensor:
        """Return input embeddings (batch, longest, token size), with projected e_u and e_v at their marks."""
        embeddings: Tensor = self.inner.get_input_embeddings()(ids.clamp(min=0))
        for mark, head, vectors in ((USER, self.user_head, users), (ITEM, self.item_head, items)):
            if vectors is not None:
                projected = head(vectors).to(embeddings.dtype)[:, None, :]
                embeddings = torch.where((ids == mark)[:, :, None], projected, embeddings)
        return embeddings

    def autocast(self) -> torch.autocast:
        """Use bfloat16 on a GPU, on a base in bfloat16, or within an outer autocast; trained weights keep 32 bits."""
        kind = self.device.type
        half = kind == "cuda" or self.inner.dtype == torch.bfloat16 or torch.is_autocast_enabled(kind)
        return torch.autocast(kind, torch.bfloat16, enabled=half)


def open_encoder_model(source: ModelSource, config: EncoderConfig, *, spaces: EmbeddingSpaces) -> HardNegativeEncoder:
    """Load a base and add adapters and heads: safetensors only, no remote code.

    spaces: of e_u, e_v and the labels. Raises ConfigError.
    """
    with seeded(config.seed, torch.device(source.device)):  # peft draws from torch's global generator
        return HardNegativeEncoder(_load_base(source, config), config, spaces=spaces).eval()


def _load_base(source: ModelSource, config: EncoderConfig) -> Any:
    base = source.model("hidden states")
    for parameter in base.parameters():
        parameter.requires_grad_(False)
    if config.adapt == "full":
        if source.precision == "nf4":
            raise ConfigError(
                "found adapt=full with precision nf4, expected float32 or bfloat16; use adapt=lora, or another precision"
            )
        base = base.float()
        for parameter in base.parameters():
            parameter.requires_grad_(True)
    return _add_adapters(base, source, config) if config.adapt == "lora" else base


def _add_adapters(base: Any, source: ModelSource, config: EncoderConfig) -> Any:
    if find_spec("peft") is None:
        raise ConfigError("adapters need peft; run pip install 'hardneg[finetune]', or use adapt=frozen or full")
    from peft import LoraConfig, get_peft_model

    settings = LoraConfig(
        task_type="FEATURE_EXTRACTION",
        r=config.rank,
        lora_alpha=config.alpha,  # type: ignore[arg-type]
        lora_dropout=config.dropout,
        target_modules=list(lora_targets(base, source, config)),
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)  # raised within peft
        network = get_peft_model(base, settings)
    network.peft_config["default"].base_model_name_or_path = source.name  # peft would record a local path
    return network


def lora_targets(base: Any, source: ModelSource, config: EncoderConfig) -> tuple[str, ...]:
    """Return the modules that LoRA adapts. Raises ConfigError if they are unknown or not in the model."""
    targets = config.targets or TARGETS.get(base.config.model_type, ())
    missing = [target for target in targets if not any(name.endswith(target) for name, _ in base.named_modules())]
    if missing or not targets:
        found = f"no modules called {', '.join(missing)}" if missing else f"the unknown type {base.config.model_type!r}"
        raise ConfigError(f"model {source.name!r} has {found}; name the modules that LoRA adapts (targets)")
    return targets


def is_decoder(config: Any) -> bool:
    """Return True for decoders, False for encoders (types that transformers trains to fill masks)."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

    if getattr(config, "is_encoder_decoder", False):
        raise ConfigError(f"found a {config.model_type} model (encoder and decoder), expected one of the two as base")
    return bool(getattr(config, "is_decoder", False)) or config.model_type not in MODEL_FOR_MASKED_LM_MAPPING_NAMES


def enable_gradient_checkpointing(encoder: HardNegativeEncoder) -> None:
    """Recompute layers in the backward pass: less memory, a third more work."""
    inner, options = encoder.inner, {"use_reentrant": False}
    if hasattr(inner, "activation_checkpointing_enable"):  # its name in newer versions of transformers
        inner.activation_checkpointing_enable(options)
    else:
        inner.gradient_checkpointing_enable(options)


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch's generators within the context; restore their state afterwards."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def last_states(states: Tensor, lengths: Tensor) -> Tensor:
    """Return (batch, width): the state of each text's last token."""
    return states[torch.arange(len(states), device=states.device), lengths - 1]


class PerceptronConfig(Config):
    """Size of the perceptron."""

    hidden_size: VectorSize = 512
    """Width of the hidden layers."""
    hidden_layers: Annotated[int, Field(ge=1, le=64)] = 2
    """Number of hidden layers."""
    size: VectorSize = 384
    """Size of the vectors; the default is MiniLM's, so that a downstream projector has equally many weights."""
    seed: Seed = 0
    """Seed of the initialization."""


class NoTemplate(Template):
    """Template without text: the marks of e_u and e_v only."""

    def __init__(self) -> None:
        self.config = TemplateConfig(texts=False)

    def prefix(self, profile: str) -> list[int]:  # noqa: ARG002 - the control ignores profiles
        """Return the mark of e_u."""
        return [USER]

    def suffix(self, profile: str) -> list[int]:  # noqa: ARG002
        """Return the mark of e_v."""
        return [ITEM]


class Perceptron(nn.Module):
    """Emits a vector for every pair from e_u and e_v: linear layers with ReLU between them.

    It has the interface of `HardNegativeEncoder`; label_head is the same module with the same initial scale.
    """

    decoder = False
    scales_in: Tensor

    def __init__(self, config: PerceptronConfig, *, spaces: EmbeddingSpaces) -> None:
        super().__init__()
        self.config, self.spaces, self.width = config, spaces, config.size
        rng = torch.Generator().manual_seed(config.seed)
        hidden = [config.hidden_size] * config.hidden_layers
        sizes = [spaces.users.size + spaces.items.size, *hidden, config.size]
        self.layers = nn.ModuleList(_linear(*pair, variance=2 / pair[0], rng=rng) for pair in pairwise(sizes))
        self.label_head = ProjectionHead(spaces.labels, config.size, scale_out=1.0, rng=rng)
        self.register_buffer("scales_in", torch.tensor([spaces.users.rms, spaces.items.rms]))

    @property
    def device(self) -> torch.device:
        """Device of the inputs."""
        return self.scales_in.device

    def trained_parameters(self) -> dict[str, nn.Parameter]:
        """Return name -> parameter: all of them."""
        return dict(self.named_parameters())

    def forward(self, batch: PromptBatch) -> Tensor:
        """Return (batch, size), not normalized; compare by cosine. Token ids are ignored."""
        user_scale, item_scale = self.scales_in
        states = torch.cat([batch.users / user_scale, batch.items / item_scale], dim=1)
        *hidden, last = self.layers
        for layer in hidden:
            states = torch.relu(layer(states))
        vectors: Tensor = last(states)
        return vectors


AnyEncoder = HardNegativeEncoder | Perceptron
"""Models that `tune` and `synthesize` accept."""


def _linear(size_in: int, size_out: int, *, variance: float, rng: torch.Generator) -> nn.Linear:
    layer = nn.Linear(size_in, size_out)
    with torch.no_grad():
        layer.weight.normal_(0, variance**0.5, generator=rng)
        layer.bias.zero_()
    return layer
