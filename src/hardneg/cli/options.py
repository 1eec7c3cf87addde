"""Options of several commands, and NAME=VALUE pairs as configuration objects."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option

from hardneg.errors import ConfigError, DataError
from hardneg.types import WeightPrecision

SplitArgument = Annotated[Path, Argument(help="Split folder.")]
EncoderOption = Annotated[str, Option(help="Text encoder: minilm, or a sentence-transformers folder or name.")]
OwnVectorsOption = Annotated[
    Path | None,
    Option(
        "--vectors",
        help="Your own item vectors in place of --encoder and --profiles: .npy in the order of the split's items, or "
        ".parquet with item_id and a column of lists or columns of numbers.",
    ),
]
RunArgument = Annotated[Path, Argument(help="Run folder.")]
PRECISION = (
    "Precision of a model's weights in this process; `hardneg doctor` measures which is faster. nf4 needs a GPU."
)
PRECISION_DEFAULT = "float32 on the CPU, bfloat16 elsewhere"
PrecisionOption = Annotated[
    WeightPrecision | None, Option("--precision", help=PRECISION, show_default=PRECISION_DEFAULT)
]
SeedOption = Annotated[int, Option(min=0, max=2**63 - 1, help="Random seed.")]
Pairs = list[str] | None
"""NAME=VALUE pairs, as given."""


def pairs_option(help_text: str, name: str = "--set", metavar: str = "NAME=VALUE") -> Any:
    """Return a repeatable option of pairs."""
    return Option(name, metavar=metavar, help=f"{help_text} Repeatable.")


def parse_mapping(
    pairs: Sequence[str] | None, option: str, *, form: str = "OURS=THEIRS", example: str = "title=name"
) -> dict[str, str]:
    """Return `{"title": "name"}` for `["title=name"]`. form, example: what a message expects."""
    parts = [pair.partition("=") for pair in pairs or []]
    wrong = [name + equals + value for name, equals, value in parts if not (name and equals and value)]
    if wrong:
        raise ConfigError(f"found {option} {wrong[0]!r}, expected {form}, for example {option} {example}")
    return {name: value for name, _, value in parts}


def parse_settings(kind: Any, pairs: Sequence[str] | None, **values: object) -> Any:
    """Return a configuration object from NAME=VALUE pairs, which precede `values`."""
    from hardneg.config import overrides, parse_config

    return parse_config(kind, values | overrides(list(pairs or [])), where="--set")


def read_ids(path: Path) -> list[str]:
    """Return the lines of a text file without surrounding white space, blank ones left out."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is no text in UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8"
        ) from None
    return [line.strip() for line in lines if line.strip()]
