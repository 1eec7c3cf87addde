"""`hardneg report`: the HTML page of a study or a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from hardneg.cli.common import ReadingOptions
from hardneg.errors import ConfigError


def report_command(
    shared: ReadingOptions,
    folder: Annotated[Path, Argument(help="Folder of a study or of an evaluated run.")],
    out: Annotated[
        Path | None, Option(show_default="page.html in the study, RUN.html beside a run", help="HTML file to write.")
    ] = None,
    split: Annotated[Path | None, Option(help="Split of a run, where it is not where the run names it.")] = None,
) -> None:
    """Write one HTML page with the results of a study or a run.

    The page needs no network and no other file. It has the verdicts, tables, charts, settings and an explorer of users. `study run` writes it as well. Runs of a study that ended since then are included.

    Example: `hardneg report out/shop --out shop.html`
    """
    from hardneg.artifacts import kind_at
    from hardneg.pipeline import RUN
    from hardneg.pipeline.run_page import write_run_page
    from hardneg.studies.page import write_page

    is_run = kind_at(folder) == RUN
    if split is not None and not is_run:
        raise ConfigError(f"found --split with {folder}, which is no run, expected the folder alone; leave --split out")
    page = write_run_page(folder, out, split) if is_run else write_page(folder, out)
    following = ("recommend", folder if is_run else "RUN", "--user", "USER_ID")
    values = {"page": str(page), "bytes": page.stat().st_size}
    shared.emit(values, f"Written: {page}; open it in a browser", following)
