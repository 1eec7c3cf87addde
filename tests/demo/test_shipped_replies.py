"""The recorded replies that come with the package answer every request of the demo."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
from tests.demo.small import SMALL

from hardneg.data import simulate
from hardneg.data import split as splits
from hardneg.demo.folders import DemoFolders
from hardneg.demo.language_model import NAMING, open_recorded, recording_path
from hardneg.llm.protocol import LlmError
from hardneg.llm.recorded import read_recording
from hardneg.text import prompt_digests
from hardneg.text.generation.item_negatives import ITEM_PROMPT, name_products

TEXTS = get_args(simulate.TextQuality)


@pytest.mark.parametrize("text", TEXTS)
def test_every_request_has_a_recorded_reply(text: simulate.TextQuality, tmp_path: Path) -> None:
    """Where this fails, prompt or store changed: record again, as the message says."""
    folders = DemoFolders(tmp_path, text)
    folders.prepare()
    split = splits.read_split(folders.split)
    with open_recorded(text, tmp_path) as session:
        assert session is not None
        named = name_products(split, session, session.model, NAMING.products)
    assert session.usage.calls == 0
    assert named["item"].n_unique() == split.train.n_items
    assert (named["text"] != "").mean() > 0.9


@pytest.mark.parametrize("text", TEXTS)
def test_the_file_says_who_wrote_it_and_how_to_write_it_again(text: simulate.TextQuality) -> None:
    header = read_recording(recording_path(text)).header
    assert header.model == "qwen2.5-coder-1.5b"
    assert header.prompts == prompt_digests(ITEM_PROMPT)
    assert header.command.startswith(f"python reproduction/record_demo.py {text} --llm qwen2.5-coder-1.5b")
    assert "Apache-2.0" in header.licence
    assert {"hardneg", "torch", "transformers"} <= header.versions.keys()
    assert recording_path(text).stat().st_size < 200_000


def test_another_store_is_refused_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(simulate.PRESETS, "informative", SMALL.model_copy(update={"seed": 7}))
    folders = DemoFolders(tmp_path, "informative")
    folders.prepare()
    with open_recorded("informative", tmp_path) as session:
        assert session is not None
        with pytest.raises(LlmError, match=r"without a recorded reply.*record again") as caught:
            folders.naming_stage(session).run(tmp_path / "named")
    assert "\n" not in str(caught.value)
