"""RecBole's files: read back by our reader, by pandas as RecBole calls it, and by RecBole where it is installed."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import polars as pl
import pytest
import yaml

from hardneg import artifacts, pipeline
from hardneg.data import Dataset, SplitConfig
from hardneg.data import split as splits
from hardneg.data.dataset import KIND, write_dataset
from hardneg.data.importing import read_into_memory
from hardneg.data.readers import open_recbole
from hardneg.errors import DataError
from hardneg.pipeline.exports import export_stage
from hardneg.stage import Stage

TITLES = ['"Quoted" tent', "tab\tand\nlines", "  two  spaces ", "", "=1+1", "\x1b[2Jred", 'in "the" middle', "a,b;c"]
CLEAN = ["'Quoted\" tent", "tab and lines", "two spaces", "", "=1+1", "[2Jred", 'in "the" middle', "a,b;c"]
PARTS = ("train", "valid", "test")


def make_split(root: Path, users: list[str], items: list[str]) -> Path:
    pairs = [(user, item) for n, user in enumerate(users) for m, item in enumerate(items) if (n + m) % 3]
    titles = pl.DataFrame({"item_id": items, "title": TITLES}, schema={"item_id": pl.String, "title": pl.String})
    dataset = Dataset(pl.DataFrame(pairs, schema=["user_id", "item_id"], orient="row"), titles)
    Stage(KIND, {}, {}, lambda draft: write_dataset(draft, dataset)).run(root / "data")
    return pipeline.split_stage(root / "data", SplitConfig(train=0.6, valid=0.2, test=0.2)).run(root / "split")


@pytest.fixture(scope="module")
def split_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ids with leading zeros, spaces, quotes, commas and a formula."""
    users = ["007", "7", "a b", 'x"y', "=1", "ü", "-1", "u,v", "last"]
    return make_split(tmp_path_factory.mktemp("recbole"), users, [f"0{n}" for n in range(8)])


@pytest.fixture(scope="module")
def out(split_dir: Path) -> Path:
    return export_stage(split_dir, "recbole").run(split_dir.parent / "out")


def pairs_of(split_dir: Path, part: str) -> list[tuple[str, str]]:
    split = splits.read_split(split_dir)
    pairs, ids = getattr(split, part), split.vocabulary
    return [(ids.user_ids[user], ids.item_ids[item]) for user, item in zip(pairs.users, pairs.items, strict=True)]


def test_pandas_reads_them_as_recbole_does(split_dir: Path, out: Path) -> None:
    settings = yaml.safe_load((out / "recbole.yaml").read_text())
    folder = out / settings["data_path"] / settings["dataset"]
    separator = settings["field_separator"]

    def read(name: str) -> pd.DataFrame:
        return pd.read_csv(
            folder / f"{settings['dataset']}.{name}", delimiter=separator, dtype=str, encoding="utf-8", engine="python"
        )

    for part in settings["benchmark_filename"]:
        table = read(f"{part}.inter")
        assert table.columns.tolist() == ["user_id:token", "item_id:token"]
        assert list(table.itertuples(index=False, name=None)) == pairs_of(split_dir, part)
    items = read("item")
    assert items.columns.tolist() == ["item_id:token", "title:token_seq"]
    assert items["title:token_seq"].fillna("").tolist() == CLEAN
    notes = artifacts.read_manifest(out, "export")["notes"]
    assert notes["texts changed"] == 4
    assert [notes[f"{part} pairs"] for part in PARTS] == [len(pairs_of(split_dir, part)) for part in PARTS]


def test_our_reader_reads_them(split_dir: Path, out: Path) -> None:
    files = {part: out / "split" / f"split.{part}.inter" for part in PARTS}
    data = read_into_memory(open_recbole(files, out / "split" / "split.item"))
    for part in PARTS:
        assert data.interactions.filter(split=part).select("user_id", "item_id").rows() == pairs_of(split_dir, part)
    assert data.items["item_id"].to_list() == splits.read_split(split_dir).vocabulary.item_ids


def test_recbole_loads_them(split_dir: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("recbole", reason="RecBole is not installed")
    from recbole.config import Config
    from recbole.data import create_dataset, data_preparation

    monkeypatch.chdir(out)
    config = Config(model="BPR", dataset="split", config_file_list=["recbole.yaml"])
    parts = data_preparation(config, create_dataset(config))
    for part, loader in zip(PARTS, parts, strict=True):
        frame = loader.dataset.inter_feat
        users = loader.dataset.id2token("user_id", frame["user_id"].numpy())
        items = loader.dataset.id2token("item_id", frame["item_id"].numpy())
        assert sorted(zip(users, items, strict=True)) == sorted(pairs_of(split_dir, part))


def test_a_run_exports_the_split_that_it_names(folders: Path, store_root: Path, tmp_path: Path) -> None:
    first = export_stage(store_root / "run", "recbole").run(tmp_path / "a")
    second = export_stage(folders / "split", "recbole").run(tmp_path / "b")
    for part in PARTS:
        name = Path("split") / f"split.{part}.inter"
        assert (first / name).read_bytes() == (second / name).read_bytes()


@pytest.mark.parametrize("unreadable", ["NA", "null", "n/a", '"quoted"', "[PAD]", "a\tb", "a\nb", "a\x1bb", "#N/A"])
def test_an_id_that_recbole_cannot_read_is_refused(tmp_path: Path, unreadable: str) -> None:
    split = make_split(tmp_path, [unreadable, *(f"u{n}" for n in range(8))], [f"i{n}" for n in range(8)])
    with pytest.raises(DataError, match="which RecBole reads as missing"):
        export_stage(split, "recbole").run(tmp_path / "out")
    assert not (tmp_path / "out").exists()
