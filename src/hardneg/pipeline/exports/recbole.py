"""RecBole's atomic files of a split (Zhao et al., 2021), with the configuration that loads them as they are divided."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from hardneg.data import columns as c
from hardneg.data.interactions import Interactions
from hardneg.data.split import Vocabulary
from hardneg.errors import DataError
from hardneg.pipeline.exports.inputs import ExportInputs
from hardneg.stage import Draft

NAME = "split"
"""Name of the dataset, which is the name of its folder and the beginning of its files."""
CONFIG = f"""# RecBole's settings of this split; call it in this folder, for example
# run_recbole(model="BPR", dataset="{NAME}", config_file_list=["recbole.yaml"])
data_path: .
dataset: {NAME}
benchmark_filename: [train, valid, test]
field_separator: "\\t"
seq_separator: " "
USER_ID_FIELD: user_id
ITEM_ID_FIELD: item_id
load_col:
  inter: [user_id, item_id]
eval_args:
  group_by: user
  mode: full
"""
TYPES = {c.TITLE: "token_seq", c.BRAND: "token", **dict.fromkeys(c.TEXT[2:], "token_seq")}
"""Text column -> type of its field."""
SPACES = "[\x00-\x20\x7f-\x9f\u2028\u2029]+"
"""Characters between two tokens, all of which become one space."""
UNREADABLE = re.compile(
    r'".*|.*[\x00-\x1f\x7f-\x9f\u2028\u2029].*|\s*|\[PAD\]|#N/A( N/A)?|#NA|-?1\.#(IND|QNAN)|-?[Nn]a[Nn]|<NA>|N/A|NA|NULL|'
    r"None|n/a|null",
    re.DOTALL,
)
"""Ids that pandas, with which RecBole reads, takes for a missing value or cannot hold in one field."""


def write_atomic_files(draft: Draft, given: ExportInputs) -> None:
    """Write split/split.train.inter, .valid.inter, .test.inter and .item, and recbole.yaml, which loads them.

    Raises DataError where an id cannot be read back, and where a held-out part is empty.
    """
    split = given.read_split()
    split.require_pairs("valid")
    split.require_pairs("test")
    _require_readable("user_id", split.vocabulary.user_ids)
    _require_readable("item_id", split.vocabulary.item_ids)
    folder = draft.folder / NAME
    folder.mkdir(exist_ok=True)
    for part in c.PARTS:
        pairs: Interactions = getattr(split, part)
        _write_table(folder / f"{NAME}.{part}.inter", _with_ids(pairs, split.vocabulary))
        draft.notes[f"{part} pairs"] = len(pairs)
    names = [name for name in TYPES if name in split.texts.columns]
    texts = pl.col(names).fill_null("").str.replace_all(SPACES, " ").str.strip_chars(" ").str.replace('^"', "'")
    items = split.texts.select(c.ITEM_ID, *names)
    written = items.with_columns(texts)
    _write_table(folder / f"{NAME}.item", written.rename({name: f"{name}:{TYPES[name]}" for name in names}))
    (draft.folder / "recbole.yaml").write_text(CONFIG, encoding="utf-8")
    changed = sum(int((written[name] != items[name]).sum()) for name in names)
    draft.notes |= {"users": split.train.n_users, "items": len(items), "texts changed": changed}


def _require_readable(name: str, ids: Sequence[str]) -> None:
    """Raise DataError that names the first id which RecBole would not read as it is."""
    unreadable = [value for value in ids if UNREADABLE.fullmatch(value)]
    if unreadable:
        raise DataError(
            f"found {name} {unreadable[0]!r} ({len(unreadable):,} of {len(ids):,} like it), which RecBole reads as missing or "
            "not at all; rename such ids before the import"
        )


def _with_ids(pairs: Interactions, vocabulary: Vocabulary) -> pl.DataFrame:
    user_ids, item_ids = (pl.Series(ids, dtype=pl.String) for ids in (vocabulary.user_ids, vocabulary.item_ids))
    return pl.DataFrame({c.USER_ID: user_ids.gather(pairs.users), c.ITEM_ID: item_ids.gather(pairs.items)})


def _write_table(path: Path, table: pl.DataFrame) -> None:
    """Write a table whose fields are tokens unless their names have a type."""
    typed = table.rename({name: f"{name}:token" for name in table.columns if ":" not in name})
    typed.write_csv(path, separator="\t", quote_style="never")
