"""The stage in which a language model names negatives: for each pair, or for each item, of which a pair takes one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from hardneg.data import split as splits
from hardneg.data.interactions import Interactions
from hardneg.data.row_report import report_notes
from hardneg.data.split import Split
from hardneg.errors import ConfigError
from hardneg.evaluation import fusion
from hardneg.judging.suspects import KIND as SUSPECTS
from hardneg.judging.suspects import read_suspects
from hardneg.llm.session import Session
from hardneg.mining import item_products
from hardneg.mining.generated import GROUNDING, ground_texts, tabulate_generated
from hardneg.pipeline.generation import (
    QUICK_ESTIMATE,
    GenerationConfig,
    generate_for_pairs_stage,
    summarize_costs,
    with_titles,
)
from hardneg.pipeline.provenance import needs_of, split_inputs
from hardneg.sampling import mined
from hardneg.stage import Draft, Stage
from hardneg.text import CostEstimate, MeteredExecutor, TextEncoder, profiles, prompt_digests, require_item_texts
from hardneg.text.estimates.cost_estimate import PRODUCTS
from hardneg.text.estimates.item_estimate import estimate_products
from hardneg.text.generation.item_negatives import (
    ITEM_PROMPT,
    ITEM_TITLES_PROMPT,
    name_products,
    report_unnamed,
)
from hardneg.text.generation.negative_generation import shown_titles
from hardneg.types import Floats, Progress


def generate_stage(
    split_dir: Path,
    profiles_dir: Path | None,
    session: Session,
    encoder: TextEncoder,
    config: GenerationConfig,
    *,
    suspects_dir: Path | None = None,
    estimate: CostEstimate | None = None,
    progress: Progress | None = None,
) -> Stage:
    """Return the stage in which a language model names a hard negative for every train pair, or k for every item.

    The names are grounded in the catalogue and encoded. profiles_dir: of users and items; needed for pairs. For items
    it is where users' vectors come from; without it they are means over train items. suspects_dir: items that a judge
    labels, which no pair of their user takes; for items only. estimate: as in `generate_profiles_stage`.
    """
    if config.per == "item":
        inputs = _ItemInputs(split_dir, profiles_dir, suspects_dir, session, encoder, config)
        return inputs.stage(estimate, progress)
    if profiles_dir is None:
        raise ConfigError("found no profiles, expected those of the split; give a profiles folder, or name per item")
    if suspects_dir is not None:
        raise ConfigError("found suspects for negatives per pair, expected none; leave them out, or name per item")
    return generate_for_pairs_stage(
        split_dir, profiles_dir, session, encoder, config, estimate=estimate, progress=progress
    )


@dataclass(frozen=True)
class _ItemInputs:
    """Inputs of negatives per item."""

    split_dir: Path
    profiles_dir: Path | None
    suspects_dir: Path | None
    session: Session
    encoder: TextEncoder
    config: GenerationConfig

    def stage(self, estimate: CostEstimate | None, progress: Progress | None) -> Stage:
        """Return the stage; arguments as in `generate_stage`."""
        config, session, encoder = self.config, self.session, self.encoder
        prompts = (ITEM_TITLES_PROMPT, ITEM_PROMPT) if config.products.constrained else (ITEM_PROMPT,)
        settings: dict[str, Any] = {
            "method": "semantic",
            "model": session.model.name,
            "encoder": encoder.name,
            "prompts": prompt_digests(*prompts),
            "per": "item",
            "items": config.items.model_dump(mode="json"),
            "use": config.item_use.model_dump(mode="json"),
        }
        inputs = split_inputs(
            self.split_dir, profiles=(self.profiles_dir, profiles.KIND), suspects=(self.suspects_dir, SUSPECTS)
        )
        inputs |= {"model": session.model.identity, "encoder": encoder.identity}

        def build(draft: Draft) -> None:
            split, requests = splits.read_split(self.split_dir), config.products
            constrained = with_titles(session, split, requests)
            expected = estimate or estimate_products(split, constrained.model, requests, QUICK_ESTIMATE)
            meter = MeteredExecutor(constrained)
            named = name_products(split, meter, constrained.model, requests)
            usage = dict(zip((PRODUCTS,), meter.runs, strict=True))
            draft.write_costs(summarize_costs(constrained, usage, expected, needs_of(self.profiles_dir)))
            draft.notes["rows left out"] = report_notes(report_unnamed(named))
            self._write(draft, named, split, progress)

        return Stage(mined.KIND, settings, inputs, build)

    def _write(self, draft: Draft, named: pl.DataFrame, split: Split, progress: Progress | None) -> None:
        """Assign the named products to pairs, and write negatives and what was named."""
        config, use, encoder, train = self.config, self.config.item_use, self.encoder, split.train
        names, is_raw = shown_titles(split, self.session.model, config.products), use.naming == "raw"
        texts = item_products.expand_to_pairs(named, train)
        grounded = ground_texts(texts, names, split, encoder, use.grounding, progress, to_other_items=not is_raw)
        grounded = item_products.add_suspects(grounded, train, split.owned, self._suspects(split))
        item_vectors = encoder.encode(require_item_texts(split.texts), progress)
        users = self._user_vectors(train, item_vectors, progress)
        fit_vectors = None if is_raw else item_vectors
        selection = item_products.select_best_fit(grounded, train, users, fit_vectors, use)
        source = f"{use.naming}, {config.items.k} per item by {self.session.model.name}, {encoder.name}"
        generated = tabulate_generated(texts, grounded, split, use, source, fit_vectors, selection)
        mined.write_negatives(draft, generated.mined, generated.table, generated.rejected)
        generated.grounding.write_parquet(draft.folder / GROUNDING)
        table = item_products.tabulate_named(named, grounded, selection.used, split, names)
        table.write_parquet(draft.folder / item_products.NAMED)
        draft.notes["objections"] = dict(generated.grounding["reason"].value_counts().sort("reason").rows())
        draft.notes["user vectors"] = "mean of train items" if self.profiles_dir is None else "profiles"

    def _suspects(self, split: Split) -> Interactions | None:
        if self.suspects_dir is None:
            return None
        return read_suspects(self.suspects_dir, split).above().pairs(split.train)

    def _user_vectors(self, train: Interactions, item_vectors: Floats, progress: Progress | None) -> Floats:
        """Return the vectors that products are compared with, (users, size)."""
        if self.profiles_dir is None:
            return fusion.mean_of_items(train, item_vectors)
        return self.encoder.encode(profiles.read_profiles(self.profiles_dir).users, progress)
