"""How far the judge `rule` agrees with the labels that Llama-3.1-8B gave, as DTL-NS released them for Sports.

    python reproduction/judge_agreement.py data/sports-split ../shared/data/dtlns/Sports [--trees out/trees ...]

For the released path codes, for trees of our own (folders by `hardneg trees build`), and for codes shuffled among the items. The
recorded labels are *built with held-out data*: their users are the test users, and the 3,754 candidates that are held out
have no label; these are left out here. Always saying positive has the accuracy of the base rate and a kappa of 0.

The rule's threshold comes from hidden train items (`judging.calibrate`), never from the labels; the last column
is the largest kappa that any threshold would have reached, for which the labels were looked at. Writes
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
from hardneg.report import tables
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


def code_sets(data: Split, release: Path, own: list[Path]) -> Iterator[tuple[str, Trees]]:
    files = [release / f"{release.name}_{kind}_path_encoding.txt.gz" for kind in ("struct", "semantic")]
    found = Trees(
        *(read_released_codes(path, data.train.n_items, item_offset=data.train.n_users)[0] for path in files),
        "released",
    )
    yield "released", found
    for folder in own:
        yield f"ours, {folder.name}", trees_folder.read_trees(folder, data.train.n_items)
    rng = generator(0, "shuffled codes")
    yield "released, shuffled", found.shuffled(rng)


def measured(labels: Floats, scores: Floats, threshold: float) -> list[str]:
    """labels: (n,) of 0 and 1; scores: (n,)."""
    said = scores >= threshold
    kappas = [cohen_kappa_score(labels, scores >= one) for one in np.unique(scores)]
    return [
        f"{len(labels):,}",
        f"{labels.mean():.1%}",
        f"{roc_auc_score(labels, scores):.3f}",
        f"{threshold:.3g}",
        f"{said.mean():.1%}",
        f"{(said == labels).mean():.1%}",
        f"{cohen_kappa_score(labels, said):.3f}",
        f"{max(kappas):.3f}",
    ]


def by_length(judge: RuleJudge, found: UserCandidates, labels: Floats) -> Iterator[list[str]]:
    """All labels, then those of users with so many train items."""
    scores, given = judge.scores(found.users, found.items), ~np.isnan(labels)
    lengths = judge.train.counts[found.users][:, None]
    for least, most in ((1, 10**6), *LENGTHS):
        chosen: Flags = given & (lengths >= least) & (lengths <= most)
        if len(np.unique(labels[chosen])) == 2:
            name = "all" if (least, most) == (1, 10**6) else f"{least} to {min(most, int(lengths.max()))}"
            yield [name, *measured(labels[chosen], scores[chosen], judge.calibration.threshold)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("split", type=Path)
    parser.add_argument(
        "release", type=Path, help="the folder of the release, with candidates, pairs and path encodings"
    )
    parser.add_argument("--trees", type=Path, nargs="*", default=[], help="trees folders of the same split")
    given = parser.parse_args()
    data = splits.read_split(given.split)
    recorded = RecordedJudgements.from_table(read_judgements(given.release), data, [])
    found = recorded.candidates()
    labels = RecordedJudge(recorded, []).probabilities(found.users, found.items)
    rows = []
    for name, codes in code_sets(data, given.release, given.trees):
        for by in ("levels", "share"):
            judge = PrefixRule(by=by).build(JudgeInputs(data, codes))
            assert isinstance(judge, RuleJudge)
            for row in by_length(judge, found, labels):
                if row[0] == "all" or "shuffled" not in name:
                    rows.append([name, by, *row])
                    print(*rows[-1], sep="  ", flush=True)
    unlabelled = int(np.isnan(labels[found.present]).sum())
    text = (
        f"# The rule beside the recorded labels of {given.release.name}\n\n"
        "Llama-3.1-8B as DTL-NS released it, **built with held-out data**: the users are the test users, and "
        f"{unlabelled:,} candidates that are held out have no label and are left out. Thresholds come from hidden train "
        'items; "best kappa" is that of the threshold that suits the labels best.\n\n' + tables.markdown(HEADER, rows)
    )
    RESULTS.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
