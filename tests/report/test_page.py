"""The HTML report: one self-contained file with escaped texts."""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from hardneg.report.page import Page, ShownPair, ShownUser, render


def page(like_probabilities: dict[str, float]) -> Page:
    pair = ShownPair("<b>pot</b>", {"uniform": ["tent"], "DNS": []})
    curves = {"row": ["uniform"] * 2, "seed": [0, 0], "epoch": [1, 2], "split": ["valid"] * 2}
    return Page(
        title="A title",
        lead="",
        answers=[("Question?", "Answer.")],
        headers=["sampler", "x"],
        cells=[["uniform", "1"]],
        notes=["A note."],
        curves=pl.DataFrame(curves | {"metric": ["ndcg@20"] * 2, "value": [0.1, 0.2]}),
        metric="ndcg@20",
        false_negatives=pl.DataFrame({"row": ["uniform"], "seed": [0], "epoch": [1], "like_probability": [0.1]}),
        users=[ShownUser("u1", ["pot"], "", [pair], like_probabilities)],
        facts=[("name", "value")],
    )


def test_the_page_is_one_file_that_needs_no_network() -> None:
    text = render(page({"tent": 0.7}))
    assert text.startswith("<!doctype html>")
    assert "<svg" in text
    for outside in ('src="http', 'href="http', "@import", "<script", "url(http", "<link"):
        assert outside not in text
    assert "Question?" in text
    assert '<span class="liked">70&nbsp;%</span>' in text


def test_texts_from_data_cannot_write_into_the_page() -> None:
    text = render(page({}))
    assert "<b>pot</b>" not in text
    assert "&lt;b&gt;pot&lt;/b&gt;" in text
    assert "(no texts of train items)" in text
    assert "no catalogue item" in text


def test_hostile_titles_cannot_add_markup() -> None:
    attack = '</script><script>alert(1)</script><img src=x onerror="alert(1)">{{ 7 * 7 }}'
    shown = ShownUser(attack, [attack], attack, [ShownPair(attack, {attack: [attack]})], {attack: 0.5})
    whole = page({})
    curves = whole.curves.with_columns(row=pl.lit(attack))
    hostile = replace(whole, title=attack, cells=[[attack, attack]], notes=[attack], curves=curves, users=[shown])
    text = render(hostile)
    assert "<script" not in text
    assert "<img" not in text
    assert "{{ 7 * 7 }}" in text
