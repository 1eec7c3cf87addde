"""Conclusions say "better" only where the corrected test does."""

from __future__ import annotations

from typing import Any

import polars as pl

from hardneg.report.verdicts import describe_verdict

BASE = {"row": "uniform", "ndcg@20": 0.1, "verdict": None}


def line(name: str, mean: float, verdict: str, p: float | None) -> dict[str, Any]:
    ends = (None, None) if verdict == "not tested" else (mean * 10 - 1.1, mean * 10 - 0.9)
    shares = dict(zip(("relative", "relative_low", "relative_high"), (mean * 10 - 1, *ends), strict=True))
    return {"row": name, "ndcg@20": mean, "verdict": verdict, "p_holm": p, **shares}


def verdict(*rows: dict[str, Any]) -> str:
    return describe_verdict(pl.DataFrame([BASE, *rows], infer_schema_length=None), "ndcg@20")


def test_the_best_significant_method_is_named_with_its_interval() -> None:
    text = verdict(
        line("high", 0.2, "not distinguishable", 0.2), line("DNS", 0.12, "better", 0.0001), line("b", 0.11, "better", 0.02),
        line("low", 0.05, "worse", 0.01), line("noise", 0.3, "control", None),
    )  # fmt: skip
    assert text == (
        "DNS is better than uniform: nDCG@20 0.1200 against 0.1000, +20.0% [+10.0%, +30.0%], p < 0.001 after Holm. "
        "Better as well: b. Worse than uniform: low."
    )


def test_without_significance_nothing_is_called_better() -> None:
    text = verdict(line("DNS", 0.12, "not distinguishable", 0.3), line("noise", 0.3, "control", None))
    assert text.startswith("No method is significantly better than uniform")
    assert "DNS, +20.0% [+10.0%, +30.0%], p 0.300 after Holm, no significant difference" in text
    assert "not tested" not in text.lower()
    untested = verdict(line("DNS", 0.12, "not tested", None))
    assert untested.startswith("Not tested")
    assert "is better" not in untested
    assert "Nothing to compare" in verdict()
