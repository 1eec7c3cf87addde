"""Parts of every HTML page, and the page itself: one file that requests nothing from elsewhere."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from hardneg.plain_text import escape_controls
from hardneg.report import svg

TEXT_COLUMNS = (
    "split",
    "model",
    "notes",
    "verdict",
    "compared with",
    "made from",
    "reason",
    "status",
    "folder",
    "metric",
)
"""Headers of columns whose cells are texts, besides the first column."""


@dataclass(frozen=True)
class PageTable:
    """A table that can be sorted and filtered. caption: what it shows, read by screen readers as well."""

    caption: str
    headers: Sequence[str]
    cells: Sequence[Sequence[str]]
    remarks: Sequence[str] = ()


@dataclass(frozen=True)
class PageFigure:
    """A chart with its title, its caption and its legend: (style, name) of every line, if it has one."""

    title: str
    chart: Markup
    caption: str
    legend: Sequence[tuple[int | None, str]] = ()


@dataclass(frozen=True)
class PageSection:
    """A section: a conclusion, then tables, figures and remarks. key: its identifier, which links name."""

    key: str
    title: str
    lead: str = ""
    tables: Sequence[PageTable] = ()
    figures: Sequence[PageFigure] = ()
    remarks: Sequence[str] = ()
    code: str = ""
    """Text that is shown as it is, such as a file or commands."""


@dataclass(frozen=True)
class ReportPage:
    """A page of sections. verdicts: conclusions at its top. explorer: data of the explorer; empty without one."""

    title: str
    lead: str
    verdicts: Sequence[str]
    sections: Sequence[PageSection]
    explorer: Mapping[str, Any] = field(default_factory=dict)


def render_report(page: ReportPage) -> str:
    """Return the HTML text."""
    return render_template("report.html.j2", page=page, explorer_data=pack(page.explorer) if page.explorer else "")


def render_template(name: str, **values: object) -> str:
    """Return a template of the package filled with values; markup and control characters among them are escaped."""
    page = _environment().get_template(name).render(text_columns=TEXT_COLUMNS, swatch=svg.swatch, **values)
    return escape_controls(page)


def pack(values: object) -> str:
    """Return values as gzipped JSON in base64, which the script of the page unpacks."""
    data = json.dumps(values, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
    return base64.b64encode(gzip.compress(data, mtime=0)).decode("ascii")


@cache
def _environment() -> Environment:
    loader = PackageLoader("hardneg.report", "templates")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    folder = files("hardneg.report") / "templates"
    for name in ("page.css", "page.js"):  # written by this package, hence not escaped
        environment.globals[name.replace(".", "_")] = Markup((folder / name).read_text(encoding="utf-8"))
    return environment
