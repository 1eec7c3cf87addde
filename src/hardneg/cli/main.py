"""`hardneg`: the command tree."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer import Option
from typer.core import TyperGroup

from hardneg.cli import (
    audit,
    baseline,
    compare,
    data,
    export,
    finetune,
    init,
    items,
    list_options,
    llm,
    negatives,
    profiles,
    quickstart,
    recommend,
    report,
    runs,
    show,
    similar,
    start,
    study,
    suspects,
    train,
)
from hardneg.cli.common import add_command

COMMANDS: dict[str, dict[str, Any]] = {
    "Start": {
        "run": quickstart.run_command,
        "demo": start.demo_command,
        "doctor": start.doctor_command,
        "options": list_options.options_command,
    },
    "Data": {"data": data.app, "show": show.show_command, "audit": audit.app},
    "Texts and language models": {"profiles": profiles.app, "llm": llm.app, "finetune": finetune.app},
    "Negatives": {
        "negatives": negatives.app,
        "neighbours": items.neighbours,
        "trees": items.trees,
        "suspects": suspects.app,
    },
    "Models": {
        "train": train.train_command,
        "baseline": baseline.baseline_command,
        "fuse": runs.fuse_command,
        "rerank": runs.rerank_command,
        "evaluate": runs.evaluate_command,
        "recommend": recommend.recommend_command,
        "similar": similar.similar_command,
        "export": export.export_command,
    },
    "Comparisons": {
        "compare": compare.compare_command,
        "init": init.init_command,
        "study": study.app,
        "report": report.report_command,
    },
}
"""Commands and command groups of every panel of the help, in the order of a typical use."""
ORDER = [name for commands in COMMANDS.values() for name in commands]


class OrderedGroup(TyperGroup):
    """The root group, whose help lists commands in the order of the table above."""

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
        bool, Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Compare negative samplers for recommenders, with negatives chosen or written by language models."""


for panel, commands in COMMANDS.items():
    for name, command in commands.items():
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name, rich_help_panel=panel)
        else:
            add_command(app, name, panel=panel)(command)


def main() -> None:
    """Run the console script."""
    app()


if __name__ == "__main__":
    main()
