"""The script of a page in Chromium: tables sort and filter, the explorer switches users and runs, nothing is requested."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.report.page_checks import ATTACK, Elements

from hardneg.report.page import PageSection, PageTable, ReportPage, render_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
OPTIONS = (
    "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-component-update "
    "--disable-sync --virtual-time-budget=4000 --enable-logging=stderr --v=0 --dump-dom"
)
ACTIONS = """<script>
setTimeout(() => {
  const found = (name) => document.querySelector(`#explorer [data-part=${name}]`);
  const order = () => [...document.querySelectorAll("tbody tr")].filter((row) => !row.hidden).map((row) => row.cells[0].textContent).join(" ");
  const log = [], note = (text) => log.push(text);
  const head = document.querySelectorAll("thead th")[1], filter = document.querySelector(".table input");
  head.querySelector("button").click(); note(order() + " " + head.getAttribute("aria-sort"));
  head.querySelector("button").click(); note(order() + " " + head.getAttribute("aria-sort"));
  filter.value = "C"; filter.dispatchEvent(new Event("input")); note(order() + " " + document.querySelector(".table [role=status]").textContent);
  note(found("out").querySelector("h3").textContent);
  found("search").value = "anna"; found("search").dispatchEvent(new Event("input")); note(found("out").querySelector("h3").textContent);
  found("second").value = "0"; found("second").dispatchEvent(new Event("change")); note(String(found("out").querySelectorAll("ol").length));
  note(String(found("out").querySelectorAll("img, script").length)); note(found("out").querySelectorAll("ol li")[0].textContent);
  document.title = log.join(" | ");
}, 1000);
</script>"""


def explorer() -> dict[str, Any]:
    def user(name: str) -> dict[str, Any]:
        shown = {"id": name, "profile": ATTACK, "history": [0], "n_history": 3, "held": [1]}
        return shown | {"ranks": [[1], [2]], "top": [[1, 0], [0, 1]], "draws": {"0": [[0, ATTACK, 1]]}}

    items = [["i0", ATTACK], ["i1", "a\x1b[31mtent\u202e"]]
    split = {"name": "shop", "note": "2 of 2 users", "runs": ["DNS", ATTACK], "items": items}
    return {"splits": [split | {"users": [user("bert"), user("anna")]}]}


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the PATH; the script of the page is not tested")
def test_tables_sort_and_the_explorer_switches_users(tmp_path: Path) -> None:
    table = PageTable("A table", ["row", "value"], [["a", "1,200"], ["b", "–"], ["c", "-0.5 ± 1"], ["cc", "< 0.001"]])
    text = render_report(ReportPage("A page", "", [], [PageSection("key", "A section", tables=[table])], explorer()))
    (tmp_path / "page.html").write_text(text.replace("</body>", ACTIONS + "</body>"), encoding="utf-8")
    address = f"file://{tmp_path / 'page.html'}"
    command = [str(CHROMIUM), *OPTIONS.split(), f"--user-data-dir={tmp_path / 'profile'}", address]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert "CONSOLE" not in ended.stderr
    page = Elements(ended.stdout)
    title = ended.stdout.partition("<title>")[2].partition("</title>")[0]
    assert title.split(" | ") == [
        "a cc c b descending",
        "c cc a b ascending",
        "c cc 2 of 4 rows",
        "User bert: 3 train items",
        "User anna: 3 train items",
        "1",
        "0",
        r"a\x1b[31mtent\u202e (held out)",
    ]
    assert page.open == []
