"""Settings of a run by their paths, nested ones included."""

from __future__ import annotations

import pytest

from hardneg.errors import ConfigError
from hardneg.pipeline import RunConfig
from hardneg.studies.cells import get_setting, has_setting, with_settings
from hardneg.studies.load import _merge_fit
from hardneg.training import BPR, FitConfig, Hinge, SampledSoftmax

SOFT = RunConfig(fit=FitConfig(loss=SampledSoftmax()))


def test_options_of_a_loss_are_settings_of_the_runs_that_have_it() -> None:
    assert has_setting(SOFT, "fit.loss.temperature")
    assert not has_setting(RunConfig(), "fit.loss.temperature")
    assert not has_setting(SOFT, "fit.loss.kind")
    assert not has_setting(SOFT, "fit.seed")
    assert not has_setting(SOFT, "fit.l2.value")
    assert get_setting(SOFT, "fit.loss.temperature") == 1.0
    changed = with_settings(SOFT, {"fit.loss.temperature": 0.1, "fit.l2": 0.5})
    assert changed.fit == FitConfig(l2=0.5, loss=SampledSoftmax(temperature=0.1))
    assert with_settings(RunConfig(), {"fit.loss.several": "mean"}).fit.loss == BPR(several="mean")
    with pytest.raises(ConfigError, match=r"fit\.loss\.temperature -1"):
        with_settings(SOFT, {"fit.loss.temperature": -1})


def test_training_settings_of_a_row_replace_those_of_the_file() -> None:
    merged = _merge_fit(FitConfig(epochs=7, loss=Hinge()), FitConfig(l2=0.5))
    assert merged == FitConfig(epochs=7, loss=Hinge(), l2=0.5)
    assert _merge_fit(FitConfig(loss=Hinge()), FitConfig(loss=BPR())).loss == BPR()
