"""`hardneg recommend`: the best items of users, on the screen or in a file."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from typer import Argument, Option

from hardneg.cli.common import ReadingOptions
from hardneg.cli.options import read_ids
from hardneg.cli.output import console, echo, render_table, show_progress
from hardneg.errors import ConfigError

if TYPE_CHECKING:
    from hardneg.pipeline import Mask, RecommendationCounts


def recommend_command(
    shared: ReadingOptions,
    run: Annotated[Path, Argument(help="Run folder, or a bundle of `hardneg export`.")],
    user: Annotated[list[str] | None, Option(help="user_id of the source file. Repeatable.")] = None,
    users: Annotated[Path | None, Option(help="Text file with a user_id on each line.")] = None,
    all_users: Annotated[bool, Option("--all", help="All users of the run; needs --out.")] = False,
    k: Annotated[int, Option("-k", min=1, max=10_000, help="Number of items for each user.")] = 20,
    mask: Annotated[
        Literal["known", "train"],
        Option(
            help="Items to leave out: known, all that the user is known to have, held-out pairs and other ids of a "
            "product included; train, those of train pairs alone, as `evaluate` does."
        ),
    ] = "known",
    split: Annotated[
        Path | None,
        Option(show_default="the one it was trained on", help="Split folder of the run, which has the held-out pairs."),
    ] = None,
    out: Annotated[
        Path | None,
        Option(help="File to write in place of printing: .parquet, or .csv with titles escaped for spreadsheets."),
    ] = None,
) -> None:
    """Print the best items that users are not known to have, or write those of all users to a file.

    By default, all known pairs are masked: train, validation and test pairs, and those that a filter of the split left out. So is every item of equal title and brand: it is the same product under another id. Items have their item_id and title of the source file.

    Examples:

    `hardneg recommend runs/mixgcf --user A2XZ -k 10`

    `hardneg recommend runs/mixgcf --users customers.txt -k 5`

    `hardneg recommend runs/mixgcf --all --out recs.parquet`
    """
    user_ids = [*(user or []), *([] if users is None else read_ids(users))]
    if all_users and (user_ids or out is None):
        found = "--user or --users" if user_ids else "no --out"
        raise ConfigError(f"found --all with {found}, expected --all --out FILE; leave --user and --users out")
    if not (user_ids or all_users):
        raise ConfigError(
            "found no user, expected at least one; give --user ID, --users FILE with a user_id on each line, or --all"
        )
    if out is None:
        _print_recommendations(shared, run, user_ids, k, mask, split)
    else:
        _write_recommendations(shared, run, None if all_users else user_ids, k, mask, split, out)


def _print_recommendations(
    shared: ReadingOptions, run: Path, user_ids: list[str], k: int, mask: Mask, split: Path | None
) -> None:
    from hardneg import pipeline

    best = pipeline.make_recommendations(run, user_ids, k, mask, split)
    _warn_of_unknown(run, best.unknown)
    shown = best.table if any(best.table["title"]) else best.table.drop("title")
    cells = [[*map(str, row[:-1]), f"{row[-1]:.4f}"] for row in shown.iter_rows()]
    if not shared.as_json:
        console().print(_describe_mask(best.masked, best.other_ids, mask), markup=False)
        n_users = len(set(user_ids)) - len(best.unknown)
        if best.short:
            console().print(_describe_short(best.short, n_users, k), markup=False)
    values = [row | {"mask": mask} for row in best.table.to_dicts()]
    shared.emit(values, render_table(shown.columns, cells, left=("title",)), _following(run, written=False))


def _write_recommendations(
    shared: ReadingOptions, run: Path, user_ids: list[str] | None, k: int, mask: Mask, split: Path | None, out: Path
) -> None:
    from hardneg import pipeline

    with show_progress() as progress:
        counts = pipeline.write_recommendations(
            run, out, k, user_ids=user_ids, mask=mask, split_dir=split, progress=progress
        )
    _warn_of_unknown(run, counts.unknown)
    if counts.risky_ids:
        echo(
            f"WARNING: {counts.risky_ids:,} ids have control characters or begin with = + - or @, and are written as they "
            "are; import the ids of the CSV as text, or write Parquet",
            err=True,
        )
    text = f"{out}: {counts.rows:,} recommendations for {counts.users:,} users, up to {k} each\n"
    shared.emit(
        {**asdict(counts), "mask": mask, "out": str(out)},
        text + _describe_file(counts, k, mask),
        _following(run, written=True),
    )


def _describe_file(counts: RecommendationCounts, k: int, mask: str) -> str:
    lines = [_describe_mask(counts.masked, counts.other_ids, mask)]
    if counts.short:
        lines.append(_describe_short(counts.short, counts.users, k))
    if counts.titles_changed:
        lines.append(
            f"Titles escaped: {counts.titles_changed:,}, with control characters or as formulas; Parquet keeps them as they are."
        )
    return "\n".join(lines)


def _warn_of_unknown(run: Path, unknown: tuple[str, ...]) -> None:
    from hardneg.pipeline.recommendation import describe_unknown

    if unknown:
        echo(f"hardneg: {run} has no {describe_unknown(unknown)}; left out", err=True)


def _describe_mask(masked: int, other_ids: int, mask: str) -> str:
    if mask == "known":
        return f"Masked: {masked:,} known pairs, held-out ones included, and {other_ids:,} items that users have under another id."
    return f"Masked: {masked:,} train pairs alone. Held-out items and other ids of owned products may be listed."


def _describe_short(short: int, n_users: int, k: int) -> str:
    return f"Fewer than {k} items are left for {short:,} of {n_users:,} users; the others are masked."


def _following(run: Path, *, written: bool) -> tuple[object, ...]:
    from hardneg.artifacts import kind_at
    from hardneg.pipeline import BUNDLE

    if not written:
        return ("recommend", run, "--all", "--out", "recs.parquet")
    if kind_at(run) == BUNDLE:
        return ("recommend", run, "--user", "USER_ID")
    return ("export", run, "--to", "bundle", "--out", "bundle")
