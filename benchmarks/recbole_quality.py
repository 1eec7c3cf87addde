"""Test quality of RecBole's models and ours on one split, with the same budget and both measured by our evaluation.

    python benchmarks/recbole_quality.py data/scientific-split [--models BPR LightGCN ...] [--seeds 3] [--out out/recbole-quality]

Size, hops, batch, learning rate, epochs and patience are the same; a model's own options are in backbone_options.py.
Epochs are chosen by validation Recall@20, each library by its own measurement. EASE and ItemKNN are fitted once, and have
one seed. Every finished training is a file in --out, so a second call resumes; --models makes a table of some.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peer_libraries.backbone_options import EMBEDDING_SIZE, KINDS, OPTIONS
from peer_processes import export, require_peers, run_peer
from same_quality import METRICS, PARTS, require_same_measure

from hardneg import artifacts
from hardneg.data import Split
from hardneg.data import split as splits
from hardneg.evaluation import compare_methods, evaluate_scores, inner_product
from hardneg.evaluation.ranking import ScoreFunction
from hardneg.fitting import fit_backbone
from hardneg.models import BaselineConfig, ModelConfig
from hardneg.models.baselines.item_item import ItemItem
from hardneg.report import printers
from hardneg.training import FitConfig
from hardneg.types import Embeddings

L2 = 1e-2
"""Of LightGCN and SimGCL in both libraries: half the squared norm of hop 0, mean over pairs."""
OUR_L2 = {"BPR": 0.0, "LightGCN": L2, "NGCF": 1e-5, "DGCF": 1e-3, "SGL": 0.0, "SimGCL": L2}
THEIR_L2 = {"BPR": 0.0, "LightGCN": L2, "NGCF": 1e-5, "DGCF": 1e-3, "SGL": 1e-5, "SimGCL": L2}
FITTED = {
    "EASE": ({"kind": "ease", "l2": 250}, 250.0),
    "ItemKNN": ({"kind": "item-knn", "neighbours": 100}, 0.0),
}
"""Model -> our options, RecBole's reg_weight; RecBole's ItemKNN has 100 neighbours by default."""
DIFFERENCES = {
    "BPR": "none; RecBole's has no L2, so ours has none",
    "LightGCN": "none",
    "NGCF": "RecBole's passes on rows of length 1, and its L2 is the norm, not squared, of final rows",
    "DGCF": "RecBole's L2 is the norm, not squared; its 1.2.1 has the distance right, earlier copies had not",
    "SGL": "RecBole's compares with all users and items, ours with those of the batch; its L2 is divided by the batch, so none",
    "SimGCL": "RecBole has none: a few lines on its LightGCN; repeated users and items of a batch are compared there",
    "EASE": "none",
    "ItemKNN": "RecBole's picks any of equally near items, ours the lower ones",
}


def our_scores(model: str, split: Split, settings: dict[str, Any]) -> tuple[ScoreFunction, int]:
    """Return our scores and the best epoch, 0 for a fitted model."""
    if model in FITTED:
        baseline = BaselineConfig.model_validate(FITTED[model][0])
        scores = baseline.fit(split.train, seed=0)
        by_items = None if scores.weights is None else ItemItem(split.train, scores.weights)
        return inner_product(scores.embeddings, by_items=by_items), 0
    options = {"kind": KINDS[model], "embedding_size": EMBEDDING_SIZE, **OPTIONS[KINDS[model]]}
    backbone = ModelConfig.model_validate(options).build(split.train, seed=settings["seed"])
    fitted = fit_backbone(backbone, split, config=FitConfig.model_validate(settings | {"l2": OUR_L2[model]}))
    return inner_product(fitted.embeddings), fitted.state.best_iteration


def their_scores(model: str, split: Split, settings: dict[str, Any]) -> tuple[ScoreFunction, int]:
    """Return RecBole's scores in our order, and its best epoch."""
    l2 = FITTED[model][1] if model in FITTED else THEIR_L2[model]
    with tempfile.TemporaryDirectory() as name:
        folder, out = Path(name), Path(name) / "result.npz"
        export(split, folder)
        answer = run_peer(
            "recbole_train.py", name, str(out), json.dumps(settings | {"model": model, "l2": l2}), folder=folder
        )
        with np.load(out) as arrays:
            result = {part: torch.from_numpy(arrays[part]) for part in arrays.files}
    if "scores" in result:
        return lambda users: result["scores"][torch.from_numpy(users)].clone(), 0
    embeddings = Embeddings((result["users"],), (result["items"],), "mean")
    require_same_measure(embeddings, split, answer["valid_recall"])
    return inner_product(embeddings), answer["best_epoch"]


LIBRARIES = {"ours": our_scores, "RecBole": their_scores}


def values_of(path: Path, library: str, model: str, split: Split, settings: dict[str, Any]) -> dict[str, np.ndarray]:
    """Return the per-user metrics of one training; read them if it is finished, else train and write them."""
    key = json.dumps([library, model, settings, OUR_L2, THEIR_L2, OPTIONS], sort_keys=True)
    if path.exists():
        metrics = dict(np.load(path))
        if str(metrics["key"]) != key:
            raise SystemExit(f"{path} belongs to other settings or data; choose another --out or remove it")
        return metrics
    fit = {name: value for name, value in settings.items() if name != "split"}
    scores, epoch = LIBRARIES[library](model, split, fit)
    metrics = dict(evaluate_scores(scores, split.test, split.train, metrics=METRICS).values)
    metrics |= {"key": np.array(key), "best_epoch": np.array(epoch)}
    temporary = path.with_suffix(".partial")
    with temporary.open("wb") as file:
        np.savez(file, **metrics)
    temporary.rename(path)
    return metrics


def row(model: str, metric: str, runs: dict[str, list[dict[str, np.ndarray]]]) -> list[str]:
    own, theirs = (np.stack([run[metric] for run in runs[library]]) for library in LIBRARIES)
    spread = [f"{x.mean():.4f}" + (f" ± {x.mean(axis=1).std(ddof=1):.4f}" if len(x) > 1 else "") for x in (own, theirs)]
    epochs = " / ".join(str([int(run["best_epoch"]) for run in runs[library]]) for library in LIBRARIES)
    if len(own) < 3:
        d = own.mean() / theirs.mean() - 1
        return [model, metric, *spread, f"{d:+.1%}, not tested", epochs, DIFFERENCES[model]]
    d = compare_methods(own, theirs)
    interval = f"{d.relative:+.1%} [{d.relative_low:+.1%}, {d.relative_high:+.1%}]"
    return [model, metric, *spread, interval, epochs, DIFFERENCES[model]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("split", type=Path)
    parser.add_argument("--models", nargs="+", choices=list(DIFFERENCES), default=list(DIFFERENCES))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--learning-rate", type=float, default=5e-3)
    parser.add_argument("--out", type=Path, default=Path("out/recbole-quality"))
    arguments = parser.parse_args()
    require_peers()
    torch.set_num_threads(1)
    split = splits.read_split(arguments.split)
    arguments.out.mkdir(parents=True, exist_ok=True)
    fixed = {"epochs": arguments.epochs, "learning_rate": arguments.learning_rate, "patience": 3}
    fixed |= {"check_every": min(5, arguments.epochs), "split": artifacts.folder_hash(arguments.split, PARTS)}
    rows = []
    for model in arguments.models:
        runs: dict[str, list[dict[str, np.ndarray]]] = {library: [] for library in LIBRARIES}
        for seed in range(1 if model in FITTED else arguments.seeds):
            for library, finished in runs.items():
                path = arguments.out / f"{library.lower()}-{model.lower()}-{seed}.npz"
                finished.append(values_of(path, library, model, split, fixed | {"seed": seed}))
                means = ", ".join(f"{metric} {finished[-1][metric].mean():.4f}" for metric in METRICS)
                print(f"{library} {model}, seed {seed}: {means}; best epoch {finished[-1]['best_epoch']}", flush=True)
        rows += [row(model, metric, runs) for metric in METRICS]
    heads = ["model", "metric", "ours, mean ± sd over seeds", "RecBole", "ours / RecBole - 1 [95 %]", "best epochs"]
    shown = {name: value for name, value in fixed.items() if name != "split"}
    text = f"# RecBole's models and ours\n\n{arguments.split.name}, {shown}.\n\n"
    text += printers.markdown([*heads, "known difference"], rows)
    (arguments.out / "recbole_quality.md").write_text(text, encoding="utf-8")
    print("\n" + text)


if __name__ == "__main__":
    main()
