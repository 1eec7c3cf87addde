"""A backbone from outside the package trains, is saved and recommends like the built-in ones."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from hardneg import pipeline
from hardneg.config import parse_config, read_yaml
from hardneg.pipeline import RunConfig

KIND = "backbone_of_a_test:ScaledMF"
MODULE = """
import torch
from torch import nn

from hardneg.models import MFModel, ModelConfig
from hardneg.types import Embeddings


class ScaledMF(ModelConfig):
    '''Matrix factorisation with a trained weight per dimension.'''

    size: int = 8

    def build(self, train, *, seed):
        return ScaledMFModel(train, self.size, seed)


class ScaledMFModel(MFModel):
    def __init__(self, train, size, seed):
        super().__init__(train, embedding_size=size, seed=seed)
        self.scale = nn.Parameter(torch.ones(size))

    def forward(self, required=None):
        return Embeddings((self.users * self.scale,), (self.items,), pooling="mean")
"""


@pytest.mark.parametrize("sampler", ["dns", "mixgcf"])
def test_it_trains_and_is_saved(folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sampler: str) -> None:
    (tmp_path / "backbone_of_a_test.py").write_text(MODULE, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "backbone_of_a_test", raising=False)
    values = {"model": {"kind": KIND, "size": 6}, "sampler": {"kind": sampler}, "fit": {"epochs": 3, "check_every": 1}}
    config = parse_config(RunConfig, values, where="x")
    run = pipeline.train_stage(folders / "split", config).run(tmp_path / "run")
    model = load_file(run / "model.safetensors")
    assert model["users"].shape[1] == 6
    assert (model["scale"] != 1).all()
    assert load_file(run / "embeddings.safetensors")["items"].shape == model["items"].shape
    assert parse_config(RunConfig, read_yaml(run / "config.yaml")[0], where="x") == config
