"""`hardneg options`."""

from __future__ import annotations

import inspect
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal

from typer import Argument

from hardneg.cli.common import OutputOptions
from hardneg.cli.output import console, emit_following, render_table
from hardneg.errors import ConfigError

if TYPE_CHECKING:
    from hardneg.plugins import PluginConfig

Family = Literal["sampler", "candidates", "backbone", "loss", "fit", "baseline", "judge"]
FIT = "fit"
SETTINGS: dict[str, str] = {
    "sampler": "sampler",
    "candidates": "fit.candidates",
    "backbone": "model",
    "loss": "fit.loss",
    FIT: "fit",
    "baseline": "",
    "judge": "",
}
"""Family -> the beginning of its settings in `--set`."""
FOLLOWING: dict[str, tuple[str, ...]] = {
    "sampler": ("train", "SPLIT", "--sampler", "NAME"),
    "candidates": ("train", "SPLIT", "--sampler", "dns", "--set", "fit.candidates.kind=NAME"),
    "backbone": ("train", "SPLIT", "--model", "NAME"),
    "loss": ("train", "SPLIT", "--set", "fit.loss.kind=NAME"),
    FIT: ("train", "SPLIT"),
    "baseline": ("baseline", "SPLIT", "NAME"),
    "judge": ("suspects", "identify", "SPLIT", "--run", "RUN", "--judge", "NAME"),
}


def options_command(
    shared: OutputOptions,
    family: Annotated[Family | None, Argument(help="What to list; all families without it.")] = None,
    name: Annotated[str | None, Argument(help="Name of one: a built-in one, an entry point, or module:Class.")] = None,
) -> None:
    """List samplers, candidate sources, backbones, losses, baselines, judges and training settings with their options, defaults, ranges and sources.

    Classes of installed packages are listed with the built-in ones. Options are given by `--set`, as in sampler.candidates=16.

    Examples:

    `hardneg options sampler`

    `hardneg options sampler dns`

    `hardneg options fit`
    """
    from hardneg.training import FitConfig

    if family == FIT and name is not None:
        raise ConfigError(f"found fit {name!r}, expected no name: training settings are the same for all; leave it out")
    if family == FIT:
        _emit_class(shared, FIT, FIT, FitConfig)
    elif family is not None and name is not None:
        _emit_class(shared, family, name, _open_families()[family].find_class(name))
    else:
        _emit_names(shared, family)


def _open_families() -> dict[str, type[PluginConfig]]:
    from hardneg.judging import JudgeConfig
    from hardneg.models import BaselineConfig, ModelConfig
    from hardneg.sampling import SamplerConfig, SourceConfig
    from hardneg.training import LossConfig

    return {
        "sampler": SamplerConfig,
        "candidates": SourceConfig,
        "backbone": ModelConfig,
        "loss": LossConfig,
        "baseline": BaselineConfig,
        "judge": JudgeConfig,
    }


def _emit_names(shared: OutputOptions, family: str | None) -> None:
    """Print the names of one family or of all, with a line on each."""
    families = {name: kind for name, kind in _open_families().items() if family in (None, name)}
    rows = [
        {"family": title, "name": name, **_describe_member(kind, name)}
        for title, kind in families.items()
        for name in kind.registry.names
    ]
    cells = [[str(row[column]) for column in ("family", "name", "found in", "description")] for row in rows]
    table = render_table(["family", "name", "found in", "description"], cells, left=("name", "found in", "description"))
    shared.emit(rows, table, ("options", family or "sampler", rows[0]["name"]))


def _describe_member(family: type[PluginConfig], name: str) -> dict[str, str]:
    """Return where a member comes from, and its first paragraph; the reason where it cannot be imported."""
    from hardneg.cli.config_fields import first_paragraph

    found = "hardneg" if name in family.registry.builtin else "entry point"
    try:
        return {"found in": found, "description": first_paragraph(family.find_class(name).__doc__)}
    except ConfigError as error:
        return {"found in": found, "description": f"unusable: {error}"}


def _emit_class(shared: OutputOptions, family: str, name: str, kind: type[Any]) -> None:
    """Print what a class does, where it comes from, and its options."""
    from hardneg.cli.config_fields import first_paragraph, list_fields

    fields = list_fields(kind, leave_out=("kind",))
    module = sys.modules[kind.__module__]
    text, source = inspect.cleandoc(kind.__doc__ or ""), first_paragraph(module.__doc__)
    prefix = f"{SETTINGS[family]}." if SETTINGS[family] else ""
    cells = [[prefix + field.name, _shown(field.default), field.range, field.description] for field in fields]
    values = {"family": family, "name": name, "class": f"{kind.__module__}:{kind.__qualname__}", "description": text}
    if not shared.as_json:
        console().print(f"{name}: {text}\n\nSource: {kind.__module__}, {source}", markup=False)
    table = render_table(["option", "default", "range", "description"], cells, left=("default", "range", "description"))
    more = {"source": source, "fields": [asdict(field) for field in fields]}
    shared.emit(values | more, table if fields else "It has no options.")
    if not shared.as_json:
        simple = [field for field in fields if isinstance(field.default, bool | int | float | str)][:1]
        example = [word for field in simple for word in ("--set", f"{prefix}{field.name}={_shown(field.default)}")]
        emit_following((*(word.replace("NAME", name) for word in FOLLOWING[family]), *example))


def _shown(default: object) -> str:
    """Return a default as it is written after `--set NAME=`; a dash where a value must be given."""
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, float):
        return f"{default:g}"
    if isinstance(default, dict):
        return f"{{{', '.join(f'{name}: {_shown(value)}' for name, value in default.items())}}}"
    return "-" if default is None else str(default)
