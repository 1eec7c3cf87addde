"""LaTeX that compiles for any names, and Markdown with escaped cells."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardneg.report import printers, tables
from hardneg.report.tables import MethodScores

METRICS = ("ndcg@20", "recall@20")
NASTY = [
    "a & b",
    "100 % $x_1^2$ #1 {~}",
    r"\end{tabular}",
    r"C:\new\\*[2pt]",
    "[1cm] after a line end",
    "* too",
    "--- -- -",
    "}{",
    "a\n\nb\tc\x00\u2028d",
    "1 | 2 < 3 > 4",
    "",
]
TOKEN = re.compile("|".join(re.escape(text) for text in sorted(printers.ESCAPES.values(), key=len, reverse=True)))
BACK = {latex: character for character, latex in printers.ESCAPES.items()}
names = st.text(st.sampled_from("\\&%$#_{}~^[]*|<>-–± \n\tab1"), max_size=20) | st.text(max_size=20)


def table(*names: str) -> pl.DataFrame:
    """The first is the baseline, the second better, the third worse, the others not distinguishable."""
    rng = np.random.default_rng(0)
    users = rng.random(80)
    lifts = [0.0, 0.3, -0.3, *([0.0] * len(names))]
    rows = [
        MethodScores(
            name, {m: users + lift + 0.1 * rng.normal(size=(3, 80)) for m in METRICS}, np.ones(3), {"item": 0.123}
        )
        for name, lift in zip(names, lifts, strict=False)
    ]
    return tables.comparison_table(rows, names[0], METRICS)


def without_escapes(latex: str) -> str:
    return TOKEN.sub("", latex).replace("-{}", "-")


def is_balanced(latex: str) -> bool:
    depth = 0
    for brace in re.findall(r"(?<!\\)(?:\\\\)*([{}])", latex):
        depth += 1 if brace == "{" else -1
        if depth < 0:
            return False
    return depth == 0


def written(text: str) -> str:
    """What is left to print of a text: single spaces, no control characters."""
    return " ".join("".join(c for c in text if c.isprintable() or c.isspace()).split())


@pytest.mark.parametrize("name", NASTY)
def test_a_nasty_name_is_escaped(name: str) -> None:
    check_escaped(name)


@given(names)
@settings(max_examples=300, deadline=None)
def test_any_name_is_escaped(name: str) -> None:
    check_escaped(name)


def check_escaped(name: str) -> None:
    """Nothing special is left raw, braces close, and reading the escapes back gives the name."""
    latex = printers.escape(name)
    assert not set(without_escapes(latex)) & set("&%$#_{}~^\\[*")
    assert "--" not in latex
    assert is_balanced(latex)
    assert latex.isprintable()
    assert TOKEN.sub(lambda token: BACK[token[0]], latex.replace("-{}", "-")) == written(name)


@given(st.lists(names, min_size=4, max_size=4, unique=True))
@settings(max_examples=30, deadline=None)
def test_any_table_has_its_columns_and_its_lines(chosen: list[str]) -> None:
    latex = printers.latex(table(*chosen), METRICS, chosen[0])
    assert is_balanced(latex)
    inner = latex[: latex.index(r"\bottomrule")].splitlines()
    begin, lines = inner[0], [line for line in inner[1:] if line not in {r"\toprule", r"\midrule"}]
    assert begin == r"\begin{tabular}{lrrrrrrr}"
    assert len(lines) == 5
    for line in lines:
        assert line.endswith(r" \\")
        assert len(re.findall(r"(?<!\\)&", line)) == 7
        assert not re.match(r"\s*[\[*]", line)  # would be read as an option of the line end before
    assert re.findall(r"\\(begin|end)\{(\w+)\}", latex.replace(r"\\textbackslash", "")) == [
        ("begin", "tabular"),
        ("end", "tabular"),
    ]


def test_the_best_is_bold_and_marks_are_explained() -> None:
    latex = printers.latex(table("uniform", "up", "down", "same"), METRICS, "uniform")
    uniform, up, down, same = latex.splitlines()[4:8]
    assert up.count(r"\textbf{") == up.count(r"$^{\ast}$") == 2
    assert down.count(r"$^{\dagger}$") == 2
    assert latex.count(r"\textbf{") == 2
    for line in (uniform, same):
        assert "$^{" not in line
    assert re.search(r"\$\+\$\d+\.\d\\% \{\[\}\$\+\$", up)
    note = latex[latex.index(r"\end{tabular}") :]
    assert r"$^{\ast}$ better, $^{\dagger}$ worse than uniform at 5\,\%" in note
    assert r"12.3\%" in up


def test_values_that_print_alike_are_bold_alike() -> None:
    frame = table("uniform", "up", "down")
    alike = frame.with_columns(pl.Series("ndcg@20", [0.5, 0.50000001, 0.4]))
    lines = printers.latex(alike, METRICS, "uniform").splitlines()[4:7]
    assert [r"\textbf{0.5000}" in line for line in lines] == [True, True, False]


def test_the_summary_prints_both_ways() -> None:
    frame = table("uniform", "up_1", "down", "same")
    headers, cells = printers.summary_text(tables.summary_table({"a": frame, "b": frame}))
    assert cells[0][:5] == ["up_1", "2", "2", "0", "0"]
    assert re.fullmatch(r"\+\d+\.\d%", cells[0][5])
    assert printers.markdown(headers, cells).count("\n") == 5


def test_text_shows_users_won_tied_and_lost() -> None:
    frame = table("uniform", "up", "down")
    headers, cells = printers.comparison_text(frame, METRICS, "uniform")
    place = headers.index("users won / tied / lost")
    assert cells[0][place] == "–"
    assert cells[1][place] == f"{frame['wins'][1]} / {frame['ties'][1]} / {frame['losses'][1]}"
    assert frame["wins"][1] + frame["ties"][1] + frame["losses"][1] == 80


def test_a_share_of_nothing_is_a_dash() -> None:
    rows = [MethodScores(name, {"ndcg@20": np.full((3, 4), v)}, np.ones(3), {}) for name, v in (("b", 0.0), ("o", 0.1))]
    _, cells = printers.comparison_text(tables.comparison_table(rows, "b", ("ndcg@20",)), ("ndcg@20",), "b")
    assert cells[1][2:4] == ["– [–, –]", "< 0.001"]


@given(st.lists(st.text(max_size=15), min_size=2, max_size=2))
@settings(max_examples=100, deadline=None)
def test_markdown_cells_stay_cells(line: list[str]) -> None:
    lines = printers.markdown(["a", "b"], [line]).split("\n")
    assert len(lines) == 4
    assert len(re.findall(r"(?<!\\)\|", lines[2])) == 3


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no TeX here")
def test_it_compiles(tmp_path: Path) -> None:
    body = printers.latex(table("uniform", *NASTY), METRICS, "uniform")
    document = r"\documentclass{article}\usepackage{booktabs}\begin{document}" + "\n" + body + r"\end{document}"
    (tmp_path / "table.tex").write_text(document, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "table.tex"]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode == 0


def test_finished_runs_are_shown_with_their_verdicts_and_groups() -> None:
    compared = {"difference": 0.02, "relative": 0.1, "relative_low": 0.05, "relative_high": 0.15}
    compared |= {"p": 0.01, "p_holm": 0.02, "verdict": "better", "wins": 3, "ties": 1, "losses": 1}
    shared = {"metric": "ndcg@20", "group": "1 to 4 train pairs", "users": 1500, "seeds": 3, "sd": 0.01, "seconds": 2.0}
    base = {"method": "uniform", "mean": 0.2, "notes": None, **shared, **dict.fromkeys(compared)}
    lines = [base, {"method": "a|b", "mean": 0.22, "notes": "below popularity", **shared, **compared}]
    lines.append({**lines[1], "method": "c", "verdict": "not distinguishable", "notes": None})
    headers, cells = printers.compared_text(pl.DataFrame(lines), "uniform")
    assert headers[2:4] == ["nDCG@20", "vs uniform [95 %]"]
    assert cells[0][3:8] == [printers.NO_VALUE] * 5
    assert cells[1][1:] == [
        "3",
        "0.2200 ± 0.0100",
        "+10.0% [+5.0%, +15.0%]",
        "0.020",
        "0.010",
        "better",
        "3 / 1 / 1",
        "2.0",
        "below popularity",
    ]
    assert cells[2][6] == "not significant"
    headers, cells = printers.grouped_text(pl.DataFrame(lines), "uniform")
    assert headers == ["method", "1 to 4 train pairs (1,500 users)"]
    assert cells[:2] == [["uniform", "0.2000"], ["a|b", "+10.0% [+5.0%, +15.0%] ▲"]]
