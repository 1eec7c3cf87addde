"""Estimation of the cost of negatives per item."""

from __future__ import annotations

import json

import numpy as np

from hardneg.data.split import Split
from hardneg.errors import ConfigError
from hardneg.llm.protocol import ChatModel, Request
from hardneg.random import generator
from hardneg.text.estimates.cost_estimate import PRODUCTS, CostEstimate
from hardneg.text.estimates.estimator import (
    EstimateConfig,
    assumed_reply,
    count_prompts,
    count_text_tokens,
    estimate_stage,
    evenly_spaced,
    mean_title_tokens,
)
from hardneg.text.estimates.sampling import RecordingExecutor, SampledUsage
from hardneg.text.generation.executor import LlmExecutor
from hardneg.text.generation.item_negatives import (
    ITEM_PROMPT,
    LINE,
    RESPECTS,
    ItemNegativesConfig,
    ItemNegativesPrompts,
    answer_items,
)


def estimate_products(
    split: Split,
    model: ChatModel,
    requests: ItemNegativesConfig,
    config: EstimateConfig,
    executor: LlmExecutor | None = None,
) -> CostEstimate:
    """Estimate the cost of naming products for every item.

    Prompts are exact: they hold no generated text. With a sample (which needs the executor) answers are assumed to be as
    long as the sampled ones. Raises ConfigError for a sample without an executor.
    """
    rng, prompts = generator(config.seed, "estimate"), ItemNegativesPrompts(split, model, requests)
    recorder = None if executor is None else RecordingExecutor(executor)
    if config.sample:
        if recorder is None:
            raise ConfigError(
                f"found a sample of {config.sample} without a model to call; give a model, or set sample to 0"
            )
        items = prompts.prompted_items[evenly_spaced(len(prompts.prompted_items), config.sample, rng)]
        list(answer_items(prompts, recorder, np.asarray(items)))
    usage = (None if recorder is None else recorder.usage(model)) or _assumed_usage(prompts, config)

    def request(item: int) -> Request | str:
        return prompts.skip_reasons[item] or prompts.request(item)

    count = count_prompts(request, len(prompts), model, config.limit, rng)
    stage = estimate_stage(PRODUCTS, count, usage, count.requests, [])
    return CostEstimate((stage,), 0 if recorder is None else recorder.calls)


def _assumed_usage(prompts: ItemNegativesPrompts, config: EstimateConfig) -> SampledUsage:
    """Return the usage of answers of assumed length."""
    k, model = prompts.config.k, prompts.model
    if prompts.config.constrained:
        separators = (k - 1) * count_text_tokens(LINE, model)
        return SampledUsage(1.0, 1.0, k * mean_title_tokens(prompts.titles, model) + separators)
    answer = dict.fromkeys(RESPECTS[:k], assumed_reply(ITEM_PROMPT, config))
    return SampledUsage(1.0, 1.0, count_text_tokens(json.dumps(answer), model))
