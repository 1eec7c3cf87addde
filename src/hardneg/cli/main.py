"""`hardneg`: one file per command."""

from __future__ import annotations

import typer

from hardneg.cli import (
    audit,
    data,
    demo,
    doctor,
    estimate,
    evaluate,
    finetune,
    fuse,
    label,
    mine,
    neighbours,
    profile,
    recommend,
    search,
    study,
    train,
    trees,
)
from hardneg.cli.common import command

app = typer.Typer(
    name="hardneg",
    help="Hard negatives chosen or written by language models: do they help a recommender, and what do they cost?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    add_completion=False,
)
app.add_typer(data.app, name="data")
for module in (
    demo,
    profile,
    estimate,
    label,
    finetune,
    mine,
    neighbours,
    trees,
    train,
    fuse,
    evaluate,
    recommend,
    search,
    study,
    audit,
    doctor,
):
    name = module.__name__.rsplit(".", 1)[-1]
    app.command(name)(command(getattr(module, name)))


def main() -> None:
    """Entry point of the console script."""
    app()


if __name__ == "__main__":
    main()
