"""The HTML report: one self-contained file with escaped texts."""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from hardneg.report.demo_page import Page, ShownPair, ShownProduct, ShownReply, ShownUser, render_demo


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
    text = render_demo(page({"tent": 0.7}))
    assert text.startswith("<!doctype html>")
    assert "<svg" in text
    for outside in ('src="http', 'href="http', "@import", "url(http"):
        assert outside not in text
    assert "default-src 'none'" in text
    assert text.count("<script") == 1
    assert "Question?" in text
    assert '<span class="liked">70&nbsp;%</span>' in text


def test_texts_from_data_cannot_write_into_the_page() -> None:
    text = render_demo(page({}))
    assert "<b>pot</b>" not in text
    assert "&lt;b&gt;pot&lt;/b&gt;" in text
    assert "(no texts of train items)" in text
    assert "no catalogue item" in text


def test_hostile_titles_cannot_add_markup() -> None:
    attack = '</script><script>alert(1)</script><img src=x onerror="alert(1)">{{ 7 * 7 }}'
    shown = ShownUser(attack, [attack], attack, [ShownPair(attack, {attack: [attack]})], {attack: 0.5})
    whole = page({})
    curves = whole.curves.with_columns(row=pl.lit(attack))
    reply = ShownReply(
        attack, [(attack, attack)], attack, [ShownProduct(attack, attack, 0.9, 1, attack, [(attack, 0.5)])], 1
    )
    hostile = replace(
        replace(whole, title=attack, cells=[[attack, attack]], notes=[attack], curves=curves, users=[shown]),
        replies=[reply],
        replied_by=attack,
    )
    text = render_demo(hostile)
    assert text.count("<script") == text.count("</script") == 1
    assert "<img" not in text
    assert "{{ 7 * 7 }}" in text


def test_the_page_shows_prompt_reply_products_and_who_took_them() -> None:
    products = [
        ShownProduct("a small tent", "Tent, small", 0.913, 3, "", [("u1", 0.04), ("u2", 0.51)]),
        ShownProduct("a moon boat", "", 0.4, 0, "out of the catalogue", []),
        ShownProduct("a nameless thing", "", float("nan"), 0, "", []),
    ]
    reply = ShownReply("Tent", [("system", "Name products."), ("user", "<item>Tent</item>")], "the reply", products, 5)
    text = render_demo(replace(page({}), replies=[reply], replied_by="small, 9 recorded replies of 2026-11-28"))
    assert "What the language model wrote" in text
    assert "small, 9 recorded replies of 2026-11-28" in text
    assert "<pre>&lt;item&gt;Tent&lt;/item&gt;</pre>" in text
    assert "<pre>the reply</pre>" in text
    assert "<td>0.91</td>" in text
    assert "<td>3 of 5</td>" in text
    assert 'u1 <span class="soft">4&nbsp;%</span>, u2 <span class="liked">51&nbsp;%</span>, …' in text
    assert '<span class="soft">(out of the catalogue)</span>' in text
    assert text.count("<details>") == text.count("<summary>") == 1


def test_without_replies_the_section_is_left_out() -> None:
    assert "language model" not in render_demo(page({}))
