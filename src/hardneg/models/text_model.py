"""Backbones that read frozen text vectors of users and items, most of them on top of another backbone."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal, Self

import torch
from pydantic import AfterValidator, BeforeValidator
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.func import functional_call

from hardneg.data.interactions import Interactions
from hardneg.errors import ConfigError, DataError
from hardneg.models.config import ModelConfig, compute_training_pass
from hardneg.models.propagation import to_dense
from hardneg.text import TextVectors
from hardneg.types import Batch, Embeddings, Items, Negatives, RequiredRows, TrainingPass


class TextModelConfig(ModelConfig):
    """Options of a backbone that reads text vectors; a vectors folder of the split has them."""

    adapted_from: ClassVar[str] = ""
    """The task that the method was published for, where that is not collaborative filtering; runs say so."""
    profile: Literal["profiles", "items"] = "profiles"
    """Text vector of a user: the encoded profile, or the mean of the vectors of the user's train items. Users without a
    profile take the mean, and are counted."""
    centred: bool = False
    """Subtract the mean from the vectors of items and from those of users, as late fusion does."""

    @abstractmethod
    def build_with_texts(self, train: Interactions, texts: TextVectors, *, seed: int) -> nn.Module:
        """Build the model from text vectors, whose rows are NaN without a text; initialized from the seed."""
        ...

    def build(self, train: Interactions, *, seed: int) -> nn.Module:  # noqa: ARG002
        """Raise ConfigError: text vectors are missing; see `build_with_texts`."""
        raise ConfigError(
            f"model {self.kind!r} reads text, found no text vectors; make a vectors folder by `hardneg profiles encode`"
        )

    def on_top_of(self, backbone: ModelConfig) -> Self:
        """Return the options with a backbone as their `base`, where they have one that is not set."""
        if "base" not in type(self).model_fields or "base" in self.model_fields_set:
            return self
        return type(self).model_validate(
            {**{name: getattr(self, name) for name in self.model_fields_set}, "base": backbone}
        )


def build_model(config: ModelConfig, train: Interactions, texts: TextVectors | None, *, seed: int) -> nn.Module:
    """Build a model, a `Backbone`. texts: for models that read text, None for others. Raises ConfigError otherwise."""
    if isinstance(config, TextModelConfig) and texts is not None:
        _require_rows(texts, train)
        return config.build_with_texts(train, texts, seed=seed)
    if texts is not None:
        raise ConfigError(f"model {config.kind!r} reads no text, found text vectors; leave them out")
    return config.build(train, seed=seed)


def _require_rows(texts: TextVectors, train: Interactions) -> None:
    rows, expected = (len(texts.users), len(texts.items)), (train.n_users, train.n_items)
    if rows != expected:
        raise DataError(
            f"found text vectors of {rows[0]:,} users and {rows[1]:,} items, expected {expected[0]:,} and {expected[1]:,}; "
            "encode the texts of this split"
        )


def _from_kind(value: object) -> object:
    return {"kind": value} if isinstance(value, str) else value


def _require_no_text(base: ModelConfig) -> ModelConfig:
    if isinstance(base, TextModelConfig):
        raise ValueError(
            f"found base {base.kind!r}, which reads text itself, expected another backbone; choose lightgcn"
        )
    return base


BaseBackbone = Annotated[ModelConfig, BeforeValidator(_from_kind), AfterValidator(_require_no_text)]
"""The backbone below a text model: its options, or its kind alone."""


class TextTables(nn.Module):
    """Frozen text vectors of users (n_users, size) and items (n_items, size), rows of 0 without a text.

    has_user, has_item: (n, 1), 1 with a text, else 0. They move with the model, and are not saved with it.
    """

    users: Tensor
    items: Tensor
    has_user: Tensor
    has_item: Tensor

    def __init__(self, texts: TextVectors) -> None:
        super().__init__()
        self.size = int(texts.items.shape[1])
        for name, table in (("user", texts.users), ("item", texts.items)):
            rows = torch.from_numpy(table).float()
            known = rows.isfinite().all(dim=1, keepdim=True)
            self.register_buffer(f"{name}s", torch.where(known, rows, 0.0), persistent=False)
            self.register_buffer(f"has_{name}", known.float(), persistent=False)


class TextModel(nn.Module):
    """A backbone with text: `base` computes from the hop-0 tables that `start` returns.

    A subclass overrides `start`, or `auxiliary`, or `training_pass`. Without these it is the base. Whatever the base does
    in training (dropout, noise, a loss of its own) it does here, on the tables with text.
    """

    def __init__(self, base: nn.Module, texts: TextVectors) -> None:
        super().__init__()
        for name in ("users", "items"):
            if name not in dict(base.named_parameters(recurse=False)):
                raise ConfigError(
                    f"found base {type(base).__name__} without the trained table {name!r}, expected one with hop-0 tables "
                    "`users` and `items`; choose another base"
                )
        self.base, self.texts = base, TextTables(texts)
        self.final_size: int = base.final_size  # type: ignore[assignment]
        self.graph: Any = getattr(base, "graph", None)

    def start(self) -> tuple[Tensor, Tensor]:
        """Return hop 0, users (n_users, size) and items (n_items, size), with gradients."""
        return self.base.get_parameter("users"), self.base.get_parameter("items")

    def auxiliary(self, embeddings: Embeddings, batch: Batch) -> Tensor | None:  # noqa: ARG002
        """Return a loss of a step that is added to the others; it reads the required rows of the embeddings alone."""
        return None

    def forward(self, required: RequiredRows | None = None) -> Embeddings:
        """Compute the tables of the base from hop 0 with text."""
        return self.run_base(self.start(), None, required).embeddings

    def training_pass(self, batch: Batch, required: RequiredRows | None = None) -> TrainingPass:
        """Compute the base's training pass from hop 0 with text, and add the loss of `auxiliary`."""
        computed = self.run_base(self.start(), batch, required)
        own = self.auxiliary(computed.embeddings, batch)
        return computed if own is None else add_loss(computed, own)

    def run_base(
        self, start: tuple[Tensor, Tensor], batch: Batch | None, required: RequiredRows | None = None
    ) -> TrainingPass:
        """Run the base with these hop-0 tables in place of its own; batch: None for a call, else its training pass."""
        users, items = (accept_sparse(table) for table in start)
        made: TrainingPass = functional_call(
            _Call(self.base), {"base.users": users, "base.items": items}, (batch, required), tie_weights=False
        )
        return made


class _Call(nn.Module):
    """Call or training pass of a backbone as one `forward`, which `functional_call` needs; has no tensors of its own."""

    def __init__(self, base: nn.Module) -> None:
        super().__init__()
        self.base = base

    def forward(self, batch: Batch | None, required: RequiredRows | None) -> TrainingPass:
        if batch is None:
            return TrainingPass(self.base(required))
        return compute_training_pass(self.base, batch, required)


def accept_sparse(table: Tensor) -> Tensor:
    """Return a table that accepts gradients of sparse rows, as trained tables do."""
    if table.is_leaf:
        return table
    accepting: Tensor = _AcceptSparse.apply(table)  # type: ignore[no-untyped-call]
    return accepting


def add_loss(computed: TrainingPass, loss: Tensor) -> TrainingPass:
    """Return a training pass with one more loss."""
    return replace(computed, auxiliary=loss if computed.auxiliary is None else computed.auxiliary + loss)


def add_loss_of_negatives(computed: TrainingPass, loss: Callable[[Negatives], Tensor]) -> TrainingPass:
    """Return a training pass with one more loss of the sampled negatives."""
    of_base = computed.auxiliary_of
    both = loss if of_base is None else lambda negatives: of_base(negatives) + loss(negatives)
    return replace(computed, auxiliary_of=both)


def first_items(negatives: Negatives) -> Tensor:
    """Return the sampled items (batch, n); of a mixed negative the first item of its mixture, -1 if that is none."""
    return negatives.items if isinstance(negatives, Items) else negatives.sources[:, :, 0]


class _AcceptSparse(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, table: Tensor) -> Tensor:
        ctx.takes_sparse = True
        return table.view_as(table)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # noqa: ARG004
        return to_dense(gradient)
