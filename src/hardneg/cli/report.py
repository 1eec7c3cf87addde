"""`hardneg report`: the HTML page of a study."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from hardneg.cli.common import ReadingOptions


def report_command(
    shared: ReadingOptions,
    folder: Annotated[Path, Argument(help="Folder of a study.")],
    out: Annotated[Path | None, Option(show_default="FOLDER/page.html", help="HTML file to write.")] = None,
) -> None:
    """Write one HTML page with the results of a study: verdicts, tables, charts and settings.

    The page needs no network and no other file. `study run` writes it as well. Runs that ended since then are included.

    Example: `hardneg report out/shop --out shop.html`
    """
    from hardneg.studies.page import write_page

    page = write_page(folder, out)
    shared.emit({"page": str(page), "bytes": page.stat().st_size}, f"Written: {page}; open it in a browser")
