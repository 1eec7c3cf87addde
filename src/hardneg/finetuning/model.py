"""A language model that reads hybrid prompts and writes vectors: any Hugging Face decoder or encoder."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any, Literal

import torch
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn

from hardneg.config import Config
from hardneg.errors import ConfigError
from hardneg.finetuning import late_interaction
from hardneg.finetuning.inputs import EmbeddingSpace, EmbeddingSpaces, PromptBatch
from hardneg.finetuning.template import ITEM, USER
from hardneg.llm.local.weights import ModelSource
from hardneg.text.encoders import MINILM, packaged_minilm

LLAMA_LIKE = ("q_proj", "k_proj", "v_proj", "o_proj")
BERT_LIKE = ("query", "key", "value", "attention.output.dense")
TARGETS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("llama", "qwen2", "qwen3", "mistral", "gemma", "gemma2", "gemma3_text"), LLAMA_LIKE),
    **dict.fromkeys(("bert", "roberta", "xlm-roberta", "camembert", "electra"), BERT_LIKE),
    "distilbert": ("q_lin", "k_lin", "v_lin", "out_lin"),
    "mpnet": ("attn.q", "attn.k", "attn.v", "attn.o"),
    "phi3": ("qkv_proj", "o_proj"),
}
"""Modules that LoRA adapts, by the model's type: the four projections of attention, as in the release."""


def base_model(name: str = MINILM, *, device: str = "cpu", four_bit: bool = False) -> ModelSource:
    """Where a base is: "minilm" is the packaged all-MiniLM-L6-v2; else a folder, or a name that the hub knows."""
    if name == MINILM:
        return ModelSource(str(packaged_minilm()), device, four_bit, display_name="MiniLM")
    return ModelSource(name, device, four_bit)


class EncoderConfig(Config):
    """What of the model is trained, and how its last layer becomes a vector."""

    adapt: Literal["lora", "frozen", "full"] = "lora"
    """frozen: the base stays as it is and only the lifts learn; full: all of its weights (in 32 bits)."""
    rank: PositiveInt = 32
    alpha: PositiveFloat = 64
    """LoRA's updates are scaled by alpha / rank. (The release comments its value out and gets the library's 8.)"""
    dropout: NonNegativeFloat = 0.05
    targets: tuple[str, ...] | None = None
    """Modules that LoRA adapts; by default those that are known of the model's type."""
    pooling: Literal["by kind", "last", "mean"] = "by kind"
    """by kind: the last token of a decoder, the mean over the tokens of an encoder (the last of one that reads apart)."""
    reading: Literal["joint", "apart"] = "joint"
    """joint: every layer reads user and item together, as in the paper. apart: an encoder's last layer alone does, and
    only for the prompt's end token, so that whoever writes vectors computes each user and each item once."""
    seed: int = 0
    """Decides how adapter and lifts start."""


class ProjectionHead(nn.Module):
    """Vectors of one space as vectors of another: W2 ReLU(W1 x + b1) + b2, as Eq. 6 of HNLMRec.

    What comes in is divided by `scale_in` and what goes out multiplied by `scale_out`, two numbers that are fixed when
    the lift is made, so that embeddings start as long as the tokens they stand among.
    """

    scale_in: Tensor
    scale_out: Tensor

    def __init__(self, space: EmbeddingSpace, width: int, *, scale_out: float, rng: torch.Generator) -> None:
        super().__init__()
        size = space.size
        self.inner, self.outer = nn.Linear(size, width), nn.Linear(width, width)
        with torch.no_grad():
            self.inner.weight.normal_(0, (2 / size) ** 0.5, generator=rng)
            self.outer.weight.normal_(0, (1 / width) ** 0.5, generator=rng)
            self.inner.bias.zero_()
            self.outer.bias.zero_()
        self.register_buffer("scale_in", torch.tensor(space.rms))
        self.register_buffer("scale_out", torch.tensor(scale_out))

    def forward(self, vectors: Tensor) -> Tensor:
        """(..., size) to (..., width)."""
        found: Tensor = self.outer(torch.relu(self.inner(vectors / self.scale_in))) * self.scale_out
        return found


class HardNegativeEncoder(nn.Module):
    """Writes a vector for every prompt; `label_lift` takes labels to where these vectors are.

    The design choice that the paper leaves open (how a vector N is "fed" to a language model, Eq. 12): labels and item
    embeddings go through one trained MLP into the space of the model's own output; they do not pass through the model.
    So the vectors that go downstream (Eq. 6) are the very ones that Eq. 12 shaped, with no head in between that would
    be thrown away; the two sides of the product have one size; label and positive differ by their values alone, since
    they share the MLP; and a lift that maps all labels to one place costs log(N + 1), the worst of losses, so the
    target cannot collapse. By the data-processing inequality, log(N + 1) - loss bounds the information on the labels
    themselves from below, lifted or not.
    """

    def __init__(self, network: Any, config: EncoderConfig, *, spaces: EmbeddingSpaces) -> None:
        """network: hidden states come out of it, a peft model or a plain one; its weights stay, the lifts start anew."""
        super().__init__()
        self.network, self.config = network, config
        self.decoder = reads_left_to_right(self.inner.config)
        self.pooling = self._pooling()
        table = self.inner.get_input_embeddings()
        with torch.no_grad():
            sample = table(torch.arange(min(table.num_embeddings, 4096), device=table.weight.device))
            token_rms = float(sample.float().square().mean().sqrt()) or 1.0
        rng = torch.Generator().manual_seed(config.seed)
        width, self.width = table.embedding_dim, int(self.inner.config.get_text_config().hidden_size)
        self.user_lift = ProjectionHead(spaces.users, width, scale_out=token_rms, rng=rng)
        self.item_lift = ProjectionHead(spaces.items, width, scale_out=token_rms, rng=rng)
        self.label_lift = ProjectionHead(spaces.labels, self.width, scale_out=1.0, rng=rng)
        self.lifts.to(self.device)

    def _pooling(self) -> str:
        if self.config.reading == "joint":
            by_kind = "last" if self.decoder else "mean"
            return by_kind if self.config.pooling == "by kind" else self.config.pooling
        late_interaction.require_late_interaction(self.inner.config)
        if self.config.pooling == "mean":
            raise ConfigError(
                "found pooling=mean with reading=apart, which sees the end token alone; take pooling=last"
            )
        return "last"

    @property
    def inner(self) -> Any:
        """The network itself, with adapters in it where it has any."""
        return self.network.get_base_model() if self.config.adapt == "lora" else self.network

    @property
    def lifts(self) -> nn.ModuleDict:
        """The three lifts: "user", "item", "label"."""
        return nn.ModuleDict({"user": self.user_lift, "item": self.item_lift, "label": self.label_lift})

    @property
    def device(self) -> torch.device:
        """Where prompts have to lie."""
        found: torch.device = self.inner.get_input_embeddings().weight.device
        return found

    def trained(self) -> dict[str, nn.Parameter]:
        """Name -> parameter, of all that learn."""
        return {name: value for name, value in self.named_parameters() if value.requires_grad}

    def forward(self, batch: PromptBatch) -> Tensor:
        """(batch, width) float32: the pooled last layer, of any length; compare by cosine."""
        if self.config.reading == "apart":
            with self.numbers():
                return late_interaction.pair_vectors(self, batch).float()
        mask = _mask(batch.ids.shape[1], batch.lengths)
        with self.numbers():
            states = self.inner(
                inputs_embeds=self.embedded(batch.ids, batch.users, batch.items),
                attention_mask=mask.long(),
                **({"use_cache": False} if self.decoder else {}),
            ).last_hidden_state.float()
        if self.pooling == "last":
            return last(states, batch.lengths)
        mean: Tensor = (states * mask[:, :, None]).sum(1) / batch.lengths[:, None]
        return mean

    def fold(self) -> bool:
        """Fold the adapter into the weights, where they have 32 bits: the same vectors within rounding, sooner.

        For writing alone; what was folded can be neither tuned nor saved. Returns whether it was done: weights of 16
        or 4 bits would be rounded, and stay as they are.
        """
        if self.config.adapt != "lora" or self.inner.dtype != torch.float32:
            return False
        self.network.merge_adapter()
        return True

    def embedded(self, ids: Tensor, users: Tensor | None, items: Tensor | None) -> Tensor:
        """(batch, longest, token size): the input embeddings, overwritten at the places of e_u and e_v."""
        found: Tensor = self.inner.get_input_embeddings()(ids.clamp(min=0))
        for mark, lift, vectors in ((USER, self.user_lift, users), (ITEM, self.item_lift, items)):
            if vectors is not None:
                found = torch.where((ids == mark)[:, :, None], lift(vectors).to(found.dtype)[:, None, :], found)
        return found

    def numbers(self) -> torch.autocast:
        """16 bits (bfloat16) on a GPU, or within somebody's autocast; the trained weights keep 32."""
        kind = self.device.type
        return torch.autocast(kind, torch.bfloat16, enabled=kind == "cuda" or torch.is_autocast_enabled(kind))


def open_encoder_model(source: ModelSource, config: EncoderConfig, *, spaces: EmbeddingSpaces) -> HardNegativeEncoder:
    """Load a base and make it ready to be tuned: safetensors alone, no remote code; adapters where wanted.

    spaces: of e_u, e_v and the labels. Raises ConfigError.
    """
    with seeded(config.seed, torch.device(source.device)):  # also peft draws from torch's own generator
        return HardNegativeEncoder(_base(source, config), config, spaces=spaces).eval()


def _base(source: ModelSource, config: EncoderConfig) -> Any:
    base = source.model("hidden states")
    for parameter in base.parameters():
        parameter.requires_grad_(False)
    if config.adapt == "full":
        if source.four_bit:
            raise ConfigError("weights of 4 bits cannot all be trained; take adapt=lora, or a base without 4 bits")
        base = base.float()
        for parameter in base.parameters():
            parameter.requires_grad_(True)
    return _adapted(base, source, config) if config.adapt == "lora" else base


def _adapted(base: Any, source: ModelSource, config: EncoderConfig) -> Any:
    if find_spec("peft") is None:
        raise ConfigError("adapters need peft; run pip install 'hardneg[finetune]', or take adapt=frozen or full")
    from peft import LoraConfig, get_peft_model

    settings = LoraConfig(
        task_type="FEATURE_EXTRACTION",
        r=config.rank,
        lora_alpha=config.alpha,  # type: ignore[arg-type]
        lora_dropout=config.dropout,
        target_modules=list(targets_of(base, source, config)),
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)  # peft's affair, not a reader's
        made = get_peft_model(base, settings)
    made.peft_config["default"].base_model_name_or_path = source.name  # peft writes down where the files lay
    return made


def targets_of(base: Any, source: ModelSource, config: EncoderConfig) -> tuple[str, ...]:
    """The modules that LoRA adapts. Raises ConfigError where they are not known, or not in the model."""
    targets = config.targets or TARGETS.get(base.config.model_type, ())
    missing = [target for target in targets if not any(name.endswith(target) for name, _ in base.named_modules())]
    if missing or not targets:
        found = f"no modules called {', '.join(missing)}" if missing else f"the unknown type {base.config.model_type!r}"
        raise ConfigError(f"model {source.name!r} has {found}; name the modules that LoRA is to adapt (targets)")
    return targets


def reads_left_to_right(config: Any) -> bool:
    """True for decoders, False for encoders (the types that transformers trains to fill masks)."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

    if getattr(config, "is_encoder_decoder", False):
        raise ConfigError(f"a {config.model_type} model is encoder and decoder at once; choose a base that is one")
    return bool(getattr(config, "is_decoder", False)) or config.model_type not in MODEL_FOR_MASKED_LM_MAPPING_NAMES


def checkpoint_layers(writer: HardNegativeEncoder) -> None:
    """Have the network compute its layers again in the backward pass: less memory, a third more work."""
    inner, how = writer.inner, {"use_reentrant": False}
    if hasattr(inner, "activation_checkpointing_enable"):  # its name in newer versions of transformers
        inner.activation_checkpointing_enable(how)
    else:
        inner.gradient_checkpointing_enable(how)


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Within, torch draws what belongs to the seed; afterwards its generators are as they were."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def last(states: Tensor, lengths: Tensor) -> Tensor:
    """(batch, width): the state of each text's last token."""
    return states[torch.arange(len(states), device=states.device), lengths - 1]


def _mask(longest: int, lengths: Tensor) -> Tensor:
    return torch.arange(longest, device=lengths.device) < lengths[:, None]
