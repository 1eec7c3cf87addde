"""Vectors equal those of single prompts in any batches, also after an interruption."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.finetuning.conftest import Bases
from tests.finetuning.tiny import DECODERS, FAMILIES, make_inputs, opened

from hardneg.errors import ConfigError, DataError
from hardneg.finetuning import (
    EncoderConfig,
    HardNegativeEncoder,
    PairInputs,
    ProjectionConfig,
    SynthesisConfig,
    Template,
    TemplateConfig,
    base_model,
)
from hardneg.finetuning import synthesize as write
from hardneg.finetuning.inputs import PromptBatch, prompt_batch
from hardneg.finetuning.linear_maps import Projection, orthogonal, pca
from hardneg.finetuning.synthesis import _Prefixes, encode_pairs, shares_prefixes
from hardneg.finetuning.tuning import TuningConfig, tune
from hardneg.types import Floats


class KilledError(Exception):
    pass


def one_by_one(encoder: HardNegativeEncoder, template: Template, inputs: PairInputs) -> Floats:
    """Encode one prompt at a time, as in the release."""
    tokens = template.tokenise(inputs.user_profiles, inputs.item_profiles)
    result = []
    with torch.no_grad():
        for row in range(len(inputs.pairs)):
            vector = encoder(prompt_batch(inputs, tokens, np.array([row]), encoder.device))[0].numpy()
            result.append(vector / np.linalg.norm(vector))
    return np.stack(result)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("share_prefixes", [True, False])
def test_it_writes_the_vectors_of_single_prompts(
    bases: Bases, tmp_path: Path, family: str, share_prefixes: bool
) -> None:
    _, template, encoder, inputs, _ = opened(bases(family))
    config = SynthesisConfig(batch_size=4, shard_rows=7, share_prefix=share_prefixes)
    path = write(encoder, template, inputs, tmp_path, config)
    result = np.load(path, mmap_mode="r", allow_pickle=False)
    assert (result.dtype, result.shape) == (np.float16, (len(inputs.pairs), 32))
    np.testing.assert_allclose(result.astype(np.float32), one_by_one(encoder, template, inputs), atol=1e-3)
    assert [entry.name for entry in tmp_path.iterdir()] == ["embeddings.npy"]


@pytest.mark.parametrize("family", DECODERS)
@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_shared_prefixes_change_nothing_but_rounding(bases: Bases, family: str, batch_size: int) -> None:
    _, template, encoder, inputs, _ = opened(bases(family))
    assert shares_prefixes(encoder, template)
    tokens = template.tokenise(inputs.user_profiles, inputs.item_profiles)
    rows = np.random.default_rng(1).permutation(len(inputs.pairs))
    plain, share_prefixes = (
        encode_pairs(encoder, inputs, tokens, rows, batch_size=batch_size, share_prefixes=share_prefixes)
        for share_prefixes in (False, True)
    )
    np.testing.assert_allclose(share_prefixes, plain, atol=2e-6)
    np.testing.assert_allclose(share_prefixes, one_by_one(encoder, template, inputs)[rows], atol=1e-5)


@pytest.mark.slow
def test_shared_prefixes_of_a_real_decoder_change_nothing_but_rounding() -> None:
    try:
        folder = Path(base_model("smollm2-135m").location)
    except ConfigError as error:
        pytest.skip(str(error))
    _, template, encoder, inputs, _ = opened(folder)
    with torch.no_grad():
        for name, parameter in encoder.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 4e-3, generator=torch.Generator().manual_seed(0))
    tokens, rows = template.tokenise(inputs.user_profiles, inputs.item_profiles), np.arange(len(inputs.pairs))
    shared = encode_pairs(encoder, inputs, tokens, rows, batch_size=8, share_prefixes=True)
    np.testing.assert_allclose(shared, one_by_one(encoder, template, inputs), atol=1e-4)


@pytest.mark.parametrize(("size", "prefixes"), [(64, 6), (1, 6)])
def test_a_prefix_is_computed_once_a_user(
    bases: Bases, monkeypatch: pytest.MonkeyPatch, size: int, prefixes: int
) -> None:
    _, template, encoder, inputs, _ = opened(bases("llama"))
    computed: list[int] = []
    begin = _Prefixes.__init__

    def counted(
        self: _Prefixes, encoder: HardNegativeEncoder, inputs: PairInputs, tokens: object, users: np.ndarray
    ) -> None:
        computed.extend(users.tolist())
        begin(self, encoder, inputs, tokens, users)

    monkeypatch.setattr(_Prefixes, "__init__", counted)
    tokens = template.tokenise(inputs.user_profiles, inputs.item_profiles)
    encode_pairs(encoder, inputs, tokens, np.arange(len(inputs.pairs)), batch_size=size, share_prefixes=True)
    assert sorted(computed) == list(range(6))
    assert len(computed) == prefixes


def test_encoders_means_and_short_windows_share_nothing(bases: Bases) -> None:
    assert not shares_prefixes(opened(bases("bert"))[2], opened(bases("bert"))[1])
    assert not shares_prefixes(opened(bases("llama"), EncoderConfig(pooling="mean"))[2], opened(bases("llama"))[1])
    _, template, encoder, _, _ = opened(bases("gemma2"))
    encoder.inner.config.sliding_window = template.longest - 1
    assert not shares_prefixes(encoder, template)


@pytest.mark.parametrize("family", ["llama", "bert"])
def test_tuning_and_synthesis_read_the_same_ids_and_pool_the_same_place(
    bases: Bases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: str
) -> None:
    _, template, encoder, inputs, labels = opened(bases(family))
    seen: dict[str, set[tuple[int, ...]]] = {"tuning": set(), "synthesis": set()}
    at, forward = "tuning", HardNegativeEncoder.forward

    def watched(self: HardNegativeEncoder, batch: PromptBatch) -> torch.Tensor:
        for row, length in zip(batch.ids.tolist(), batch.lengths.tolist(), strict=True):
            seen[at].add((length - 1, *row[:length]))  # the last place that counts, and the ids
        return forward(self, batch)

    monkeypatch.setattr(HardNegativeEncoder, "forward", watched)
    tune(encoder, template, inputs, labels, TuningConfig(batch_size=4, micro_batch=3))
    at = "synthesis"
    write(encoder, template, inputs, tmp_path, SynthesisConfig(batch_size=5, share_prefix=False))
    assert seen["tuning"]
    assert seen["tuning"] <= seen["synthesis"]


@pytest.mark.parametrize("kind", [None, "orthogonal", "pca"])
def test_killed_and_resumed_it_leaves_the_same_file(bases: Bases, tmp_path: Path, kind: str | None) -> None:
    _, template, encoder, inputs, _ = opened(bases("llama"))
    projection = None if kind is None else ProjectionConfig(kind=kind, size=5, sample=20)
    config = SynthesisConfig(batch_size=3, shard_rows=5, projection=projection)
    made: list[int] = []

    def run(out: Path, kill_after: int) -> None:
        calls = iter(range(100))

        def watch(_: str, done: int, __: int) -> None:
            made.append(done)
            if next(calls) == kill_after:
                raise KilledError

        write(encoder, template, inputs, out, config, key="k", progress=watch)

    for name in ("whole", "broken"):
        (tmp_path / name).mkdir()
    run(tmp_path / "whole", 99)
    for kill_after in (0, 2):
        with pytest.raises(KilledError):
            run(tmp_path / "broken", kill_after)
    (tmp_path / "broken" / "shards" / ".000003.npy.1.new").write_bytes(b"half")
    run(tmp_path / "broken", 99)
    one, two = (hashlib.sha256((tmp_path / n / "embeddings.npy").read_bytes()).digest() for n in ("whole", "broken"))
    assert one == two
    assert not (tmp_path / "broken" / "shards").exists()


def test_finished_shards_are_not_computed_again(bases: Bases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, template, encoder, inputs, _ = opened(bases("bert"))
    encoded_counts: list[int] = []

    def counted(*given: object, **options: object) -> Floats:
        encoded_counts.append(len(given[3]))
        return encode_pairs(*given, **options)

    monkeypatch.setattr("hardneg.finetuning.synthesis.encode_pairs", counted)

    def kill(_: str, done: int, total: int) -> None:
        if done > total / 2:
            raise KilledError

    config = SynthesisConfig(shard_rows=5)
    with pytest.raises(KilledError):
        write(encoder, template, inputs, tmp_path, config, progress=kill)
    write(encoder, template, inputs, tmp_path, config)
    write(encoder, template, inputs, tmp_path, config)  # finished: nothing is made
    assert sum(encoded_counts) == len(inputs.pairs)
    assert len(encoded_counts) > 3


def test_shards_of_another_model_are_refused(bases: Bases, tmp_path: Path) -> None:
    _, template, encoder, inputs, _ = opened(bases("bert"))

    def kill(*_: object) -> None:
        raise KilledError

    with pytest.raises(KilledError):
        write(encoder, template, inputs, tmp_path, SynthesisConfig(shard_rows=5), key="one", progress=kill)
    with pytest.raises(DataError, match="shards"):
        write(encoder, template, inputs, tmp_path, SynthesisConfig(shard_rows=5), key="two")


def test_empty_prompts_give_rows_of_nan(bases: Bases, tmp_path: Path) -> None:
    inputs, _ = make_inputs()
    blank = replace(inputs, user_profiles=[""] * 6, item_profiles=[*[""] * 4, *inputs.item_profiles[4:]])
    for name, config, has_empty_prompt in (("with", None, False), ("without", TemplateConfig(embeddings=False), True)):
        _, template, encoder, _, _ = opened(bases("bert"), template=config)
        (tmp_path / name).mkdir()
        result = np.load(write(encoder, template, blank, tmp_path / name))
        expected = np.array([not blank.item_profiles[item].strip() for item in blank.pairs.items]) & has_empty_prompt
        assert (np.isnan(result).all(axis=1) == expected).all()
        assert (np.isnan(result).any(axis=1) == expected).all()
        assert sum(entry.count for entry in blank.row_report(template) if "no vector" in entry.reason) == expected.sum()


def test_projected_vectors_are_the_projection_of_whole_ones(bases: Bases, tmp_path: Path) -> None:
    _, template, encoder, inputs, _ = opened(bases("qwen2"))
    whole = one_by_one(encoder, template, inputs)
    for kind in ("orthogonal", "pca"):
        out = tmp_path / kind
        out.mkdir()
        config = SynthesisConfig(projection=ProjectionConfig(kind=kind, size=7, sample=1000))
        result = np.load(write(encoder, template, inputs, out, config)).astype(np.float32)
        assert result.shape == (len(whole), 7)
        np.testing.assert_allclose(result, Projection.read(out / "projection.safetensors")(whole), atol=2e-3)


def test_random_directions_keep_lengths_on_average(rng: np.random.Generator) -> None:
    result = orthogonal(64, 16, seed=0)
    np.testing.assert_allclose(result.matrix.T @ result.matrix, np.eye(16) * 4, atol=1e-5)
    vectors = rng.normal(size=(500, 64))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    assert np.mean(np.linalg.norm(result(vectors), axis=1) ** 2) == pytest.approx(1, abs=0.05)
    assert (orthogonal(64, 16, seed=0).matrix == result.matrix).all()
    assert (orthogonal(64, 16, seed=1).matrix != result.matrix).any()


def test_main_axes_are_scikit_learn_s(rng: np.random.Generator) -> None:
    from sklearn.decomposition import PCA

    vectors = rng.normal(size=(80, 10)) @ rng.normal(size=(10, 10)) + 3
    result, expected = pca(vectors, 3)(vectors), PCA(3).fit_transform(vectors)
    np.testing.assert_allclose(np.abs(result), np.abs(expected), rtol=1e-3, atol=1e-3)


def test_projections_to_more_dimensions_are_refused(rng: np.random.Generator) -> None:
    with pytest.raises(ConfigError, match=r"8.*9"):
        orthogonal(8, 9, seed=0)
    with pytest.raises(ConfigError, match=r"3 vectors .* 4"):
        pca(rng.normal(size=(3, 8)), 4)
