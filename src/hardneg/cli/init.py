"""`hardneg init`: commented files of a study, a search or a run, and copies of ready studies."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from typer import Argument, Option

from hardneg.cli.common import OutputOptions
from hardneg.cli.options import Pairs, pairs_option, parse_mapping
from hardneg.errors import ConfigError

HEAD = """\
# {title}
# Paths start at the working directory. `hardneg options` lists samplers, backbones and settings.
name: {name}  # results are in out/{name}

splits:  # name: split folder
{splits}

models:  # name: backbone and its options; every one is a table of its own
  LightGCN: {{kind: lightgcn, embedding_size: 64, hops: 3}}
  # MF: {{kind: mf, embedding_size: 64}}

# negatives:  # name: how negatives are made, for the rows that read them
#   retrieved: {{method: retrieved}}
#   noise: {{method: random, like: retrieved}}

rows:  # name: a method, which is a line of the tables
  uniform: {{sampler: {{kind: uniform}}}}
  DNS: {{sampler: {{kind: dns, candidates: 10}}}}
  MixGCF: {{sampler: {{kind: mixgcf, candidates: 16}}}}
"""
STUDY = """\
  # Text as a harder negative, and its control; needs `negatives` above.
  # text: {{sampler: {{kind: semantic}}, negatives: retrieved}}
  # text, control: {{sampler: {{kind: semantic}}, negatives: noise, against: text}}
  # A second line, in which the finished runs are fused with item texts.
  # DNS and text: {{sampler: {{kind: dns, candidates: 10}}, fusion: {{}}}}

fit:  # training settings of every row
{fit}

seeds: 5  # number of runs of every row; tested from three on
baseline: uniform  # the row that others are compared with
metrics: [ndcg@20, recall@20]  # the first decides
# tuned: out/{name}-search  # settings that `hardneg study search` found; its folder
"""
SEARCH = """\

fit:  # training settings as given, which are those of the first trial
{fit}

trials: 10  # of every row, so that all have the same budget
space:  # setting: where to search; it applies to rows that have it
  fit.learning_rate: {{low: 1e-3, high: 1e-2, log: true}}
  fit.l2: {{low: 1e-6, high: 1e-2, log: true}}
  sampler.candidates: {{choices: [4, 8, 16, 32]}}
"""
RUN = """\
# {title}
# Single options of the command replace values of the file.
model:  # other backbones: hardneg options backbone
  kind: lightgcn
{model}

sampler:  # other samplers: hardneg options sampler
  kind: mixgcf
{sampler}

fit:
{fit}

# folders:  # what samplers and suspects read
#   negatives: out/negatives  # for semantic; a neighbours folder for semantic-mixing
#   trees: out/trees  # for multi-view
#   suspects: out/suspects
# suspects: {{use: exclude}}  # how they are used; also positives, both, penalize, weigh or triplets
"""
Kind = Literal["study", "search", "run"]
TITLES = {
    "run": "Settings of one training run: hardneg train SPLIT --config {file}",
    "study": "Compares methods over several seeds: hardneg study run {file}",
    "search": "Searches settings on validation pairs, for a study: hardneg study search {file}",
}


def init_command(
    shared: OutputOptions,
    kind: Annotated[Kind, Argument(help="Kind of file.")],
    ready: Annotated[
        str | None, Argument(metavar="[NAME]", help="Ready study of `hardneg study list` to copy.", show_default=False)
    ] = None,
    split: Annotated[Pairs, pairs_option("Split folder and its name in the tables.", "--split", "NAME=FOLDER")] = None,
    out: Annotated[
        Path | None, Option(show_default="study.yaml, search.yaml, run.yaml or NAME.yaml", help="File to write.")
    ] = None,
) -> None:
    """Write a commented file of a study, a search or a run, or a copy of a ready study, to be edited and run.

    Without --split, a study names data/shop-split; the file of a run, for `train --config`, names none. A copy without --split is given its split when it runs. An existing file is not overwritten.

    Examples:

    `hardneg init study --split shop=data/shop-split --out shop.yaml`

    `hardneg init study alpha --split shop=data/shop-split`

    `hardneg init run --out run.yaml`
    """
    if ready is not None and kind != "study":
        raise ConfigError(f"found {kind} {ready!r}, expected no name: ready ones are studies; leave it out")
    file = out or Path(f"{ready or kind}.yaml")
    if file.exists():
        raise ConfigError(f"{file} exists already; choose another --out, or remove it first")
    if kind == "run" and split:
        raise ConfigError("found --split, which the file of a run does not name; give the split to `hardneg train`")
    splits = parse_mapping(split, "--split", form="NAME=FOLDER", example="shop=data/shop-split")
    if ready is not None:
        text = copy_ready(ready, splits)
    else:
        splits = splits or {"shop": "data/shop-split"}
        text = write_template(kind, splits, file)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    given: tuple[object, ...] = () if splits else ("--split", "SPLIT")
    following = ("train", "SPLIT", "--config", file) if kind == "run" else ("study", "estimate", file, *given)
    values = {"out": str(file)} | ({} if kind == "run" else {"splits": splits})
    shared.emit(values, f"Edit the file, then run it.\nWritten: {file}", following)


def copy_ready(name: str, splits: dict[str, str]) -> str:
    """Return the text of a ready study with its splits after its name."""
    from hardneg.studies.placeholders import FOR_SPLITS
    from hardneg.studies.ready_studies import find_ready

    text = find_ready(name).text
    if not splits:
        return text
    lines = "".join(f"  {_scalar(name)}: {_scalar(folder)}\n" for name, folder in splits.items())
    return re.sub(
        r"^(name: .*\n)", lambda match: f"{match[1]}{FOR_SPLITS}:\n{lines}", text, count=1, flags=re.MULTILINE
    )


def write_template(kind: Kind, splits: dict[str, str], file: Path) -> str:
    """Return the text of a file, with training settings and their defaults.

    Raises ConfigError for a name of a split that a study does not accept.
    """
    from hardneg.config import parse_config
    from hardneg.models import LightGCN
    from hardneg.sampling import MixGCF
    from hardneg.studies.recipes import slug
    from hardneg.studies.spec import Name
    from hardneg.training import FitConfig

    for name in splits:
        parse_config(Name, name, where="--split")
    title = TITLES[kind].format(file=" ".join(str(file).split()))
    if kind == "run":
        return RUN.format(title=title, model=_lines_of(LightGCN), sampler=_lines_of(MixGCF), fit=_lines_of(FitConfig))
    name = slug(next(iter(splits))) + ("" if kind == "study" else "-search")
    lines = "\n".join(f"  {_scalar(name)}: {_scalar(folder)}" for name, folder in splits.items())
    body = STUDY if kind == "study" else SEARCH
    return (HEAD + body).format(title=title, name=_scalar(name), splits=lines, fit=_lines_of(FitConfig, "seed"))


def _lines_of(kind: type[Any], *leave_out: str) -> str:
    """Return the options of a class in YAML, each with its default and what it is."""
    from hardneg.cli.config_fields import list_fields

    fields = list_fields(kind, leave_out=("kind", *leave_out))
    return "\n".join(f"  {field.name}: {_scalar(field.default)}  # {field.description}" for field in fields)


def _scalar(value: Any) -> str:
    """Return a value as YAML reads it back; text with special signs in quotes."""
    import yaml

    if value is None:
        return "null"
    if isinstance(value, float):
        return f"{value:g}" if "e" not in f"{value:g}" else f"{value:.0e}"
    if not isinstance(value, str):
        return str(value)
    plain = re.fullmatch(r"[A-Za-z/][\w./@-]*", value) is not None and yaml.safe_load(value) == value
    return value if plain else json.dumps(value)
