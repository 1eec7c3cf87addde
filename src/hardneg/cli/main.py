"""`hardneg`: the command tree."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from hardneg.cli import (
    audit,
    data,
    demo,
    doctor,
    evaluate,
    finetune,
    fuse,
    llm,
    negatives,
    neighbours,
    profiles,
    recommend,
    study,
    suspects,
    train,
    trees,
)
from hardneg.cli.common import add_command

START, DATA, TEXT, NEGATIVES = "Start", "Data", "Texts and language models", "Negatives"
MODELS, STUDIES = "Models", "Comparisons"
ORDER = [
    "demo",
    "doctor",
    "data",
    "audit",
    "profiles",
    "llm",
    "finetune",
    "negatives",
    "neighbours",
    "trees",
    "suspects",
]
ORDER += ["train", "fuse", "evaluate", "recommend", "study"]


class OrderedGroup(TyperGroup):
    """The root group, whose help lists commands in the order of a typical use."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of the commands."""
        return sorted(super().list_commands(ctx), key=ORDER.index)


app = typer.Typer(
    name="hardneg",
    cls=OrderedGroup,
    help="Compare negative samplers for recommenders, with negatives chosen or written by language models.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


def _print_version(requested: bool) -> None:
    if requested:
        from importlib.metadata import version

        typer.echo(f"hardneg {version('hardneg')}")
        raise typer.Exit


@app.callback()
def hardneg_command(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Compare negative samplers for recommenders, with negatives chosen or written by language models."""


add_command(app, "demo", panel=START)(demo.demo_command)
add_command(app, "doctor", panel=START)(doctor.doctor_command)
app.add_typer(data.app, name="data", rich_help_panel=DATA)
app.add_typer(audit.app, name="audit", rich_help_panel=DATA)
app.add_typer(profiles.app, name="profiles", rich_help_panel=TEXT)
app.add_typer(llm.app, name="llm", rich_help_panel=TEXT)
app.add_typer(finetune.app, name="finetune", rich_help_panel=TEXT)
app.add_typer(negatives.app, name="negatives", rich_help_panel=NEGATIVES)
app.add_typer(neighbours.app, name="neighbours", rich_help_panel=NEGATIVES)
app.add_typer(trees.app, name="trees", rich_help_panel=NEGATIVES)
app.add_typer(suspects.app, name="suspects", rich_help_panel=NEGATIVES)
add_command(app, "train", panel=MODELS)(train.train_command)
add_command(app, "fuse", panel=MODELS)(fuse.fuse_command)
add_command(app, "evaluate", panel=MODELS)(evaluate.evaluate_command)
add_command(app, "recommend", panel=MODELS)(recommend.recommend_command)
app.add_typer(study.app, name="study", rich_help_panel=STUDIES)


def main() -> None:
    """Run the console script."""
    app()


if __name__ == "__main__":
    main()
