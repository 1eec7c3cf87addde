"""Measure how far judge `rule` agrees with the labels of Llama-3.1-8B that DTL-NS released for Sports.

    python reproduction/judge_agreement.py data/sports-split ../shared/data/dtlns/Sports [--trees out/trees ...]

Rows are the released path codes, trees of our own (folders by `hardneg trees build`), and codes shuffled among items. The
recorded labels are *built with held-out data*: their users are the test users, and the 3,754 held-out candidates have no
label and are left out here. A judge that labels every candidate as liked has the accuracy of the base rate and a kappa of 0.

The threshold of the rule comes from hidden train items (`judging.calibrate`), never from the labels. The last column is the
largest kappa that any threshold reaches, which is found with the labels. Writes
studies/results/judge_agreement.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from sklearn.metrics import cohen_kappa_score, roc_auc_score

from hardneg.data import Split
from hardneg.data import split as splits
from hardneg.judging import (
    JudgeInputs,
    PrefixRule,
    RecordedJudge,
    RecordedJudgements,
    RuleJudge,
    UserCandidates,
    read_judgements,
)
from hardneg.random import generator
from hardneg.report import printers
from hardneg.trees import Trees, read_released_codes, trees_folder
from hardneg.types import Flags, Floats

RESULTS = Path(__file__).parents[1] / "studies" / "results" / "judge_agreement.md"
LENGTHS = ((1, 5), (6, 10), (11, 20), (21, 50), (51, 10**6))
HEADER = [
    "codes",
    "score",
    "train items",
    "labels",
    "base rate",
    "AUC",
    "threshold",
    "called positive",
    "accuracy",
    "kappa",
    "best kappa",
]


def read_code_sets(data: Split, release: Path, own: list[Path]) -> Iterator[tuple[str, Trees]]:
    """Yield name and trees: the released ones, our own, and the released ones shuffled."""
    files = [release / f"{release.name}_{kind}_path_encoding.txt.gz" for kind in ("struct", "semantic")]
    released = Trees(
        *(read_released_codes(path, data.train.n_items, item_offset=data.train.n_users)[0] for path in files),
        "released",
    )
    yield "released", released
    for folder in own:
        yield f"ours, {folder.name}", trees_folder.read_trees(folder, data.train.n_items)
    rng = generator(0, "shuffled codes")
    yield "released, shuffled", released.shuffled(rng)


def agreement(labels: Floats, scores: Floats, threshold: float) -> list[str]:
    """Return the cells of a line. labels: (n,) of 0 and 1. scores: (n,)."""
    predicted = scores >= threshold
    kappas = [cohen_kappa_score(labels, scores >= other) for other in np.unique(scores)]
    return [
        f"{len(labels):,}",
        f"{labels.mean():.1%}",
        f"{roc_auc_score(labels, scores):.3f}",
        f"{threshold:.3g}",
        f"{predicted.mean():.1%}",
        f"{(predicted == labels).mean():.1%}",
        f"{cohen_kappa_score(labels, predicted):.3f}",
        f"{max(kappas):.3f}",
    ]


def agreement_by_length(judge: RuleJudge, candidates: UserCandidates, labels: Floats) -> Iterator[list[str]]:
    """Yield a line for all labels, then one for every range of the number of train items."""
    scores, labelled = judge.scores(candidates.users, candidates.items), ~np.isnan(labels)
    lengths = judge.train.counts[candidates.users][:, None]
    for least, most in ((1, 10**6), *LENGTHS):
        chosen: Flags = labelled & (lengths >= least) & (lengths <= most)
        if len(np.unique(labels[chosen])) == 2:
            name = "all" if (least, most) == (1, 10**6) else f"{least} to {min(most, int(lengths.max()))}"
            yield [name, *agreement(labels[chosen], scores[chosen], judge.calibration.threshold)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("split", type=Path)
    parser.add_argument("release", type=Path, help="Folder of the release, with candidates, pairs and path encodings.")
    parser.add_argument("--trees", type=Path, nargs="*", default=[], help="Trees folders of the same split.")
    arguments = parser.parse_args()
    data = splits.read_split(arguments.split)
    recorded = RecordedJudgements.from_table(read_judgements(arguments.release), data, [])
    candidates = recorded.candidates()
    labels = RecordedJudge(recorded, []).probabilities(candidates.users, candidates.items)
    rows = []
    for name, codes in read_code_sets(data, arguments.release, arguments.trees):
        for by in ("levels", "share"):
            judge = PrefixRule(by=by).build(JudgeInputs(data, codes))
            assert isinstance(judge, RuleJudge)
            for row in agreement_by_length(judge, candidates, labels):
                if row[0] == "all" or "shuffled" not in name:
                    rows.append([name, by, *row])
                    print(*rows[-1], sep="  ", flush=True)
    unlabelled = int(np.isnan(labels[candidates.present]).sum())
    text = (
        f"# The rule beside the recorded labels of {arguments.release.name}\n\n"
        "Llama-3.1-8B as DTL-NS released it, **built with held-out data**: the users are the test users, and "
        f"{unlabelled:,} candidates that are held out have no label and are left out. Thresholds come from hidden train "
        'items; "best kappa" is that of the threshold that suits the labels best.\n\n' + printers.markdown(HEADER, rows)
    )
    RESULTS.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
