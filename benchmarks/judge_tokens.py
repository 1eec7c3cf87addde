"""Prompt tokens of judging the candidates that DTL-NS published: one call a user, against the release's call a candidate.

    python benchmarks/judge_tokens.py data/sports-split ../shared/data/dtlns/Sports

Both prompts show the two path codes of each item of the history and of each candidate, and state the same rule. The
release (github.com/w158937299/DTL-NS, commit bd99a43) sends its instructions, the whole history and one candidate in every
call, each item as {"item_id", "co_path", "emb_path"} in JSON; it tells the model not to use the item_id, and ours leaves it
out. Of its instructions and of the words around its data only the number of tokens is used here, counted from its files.
Ours is the prompt of `hardneg suspects identify --judge llm`; it knows equal history items as a count.

Tokens are those of the packaged MiniLM tokenizer, over every user and candidate. Chat marks and answers are left out; no
prefix is taken to be cached. Writes benchmarks/results/judge_tokens.md.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from hardneg.data import split as splits
from hardneg.judging import RecordedJudgements, UserCandidates, read_judgements
from hardneg.judging.judge_prompts import CodePrompts
from hardneg.llm.protocol import Request
from hardneg.report import printers
from hardneg.text.encoders import packaged_minilm
from hardneg.trees import Trees, read_released_codes
from hardneg.types import Indices

RELEASED_INSTRUCTIONS, RELEASED_FRAME = 312, 112
"""MiniLM tokens of data/prompt_classify.txt, and of what LLM_reasoning.py writes around its two lists."""
LISTS = 4
"""Brackets of the two lists."""
LENGTHS = ((1, 5), (6, 10), (11, 20), (21, 50), (51, 10**6))
RESULTS = Path(__file__).parent / "results" / "judge_tokens.md"


def counter() -> Callable[[list[str]], Indices]:
    """Tokens of texts, without those that a model would add."""
    tokenizer = Tokenizer.from_file(str(packaged_minilm() / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()

    def count(texts: list[str]) -> Indices:
        return np.array([len(found.ids) for found in tokenizer.encode_batch(texts, add_special_tokens=False)])

    return count


def released(
    codes: Trees, histories: list[Indices], candidates: Indices, offset: int, count: Callable[[list[str]], Indices]
) -> Indices:
    """(users,) tokens of all calls about a user, summed. MiniLM splits at punctuation, so that parts add up."""
    texts = zip(codes.structural.texts(), codes.semantic.texts(), strict=True)
    items = [
        json.dumps({"item_id": item + offset, "co_path": one or "None", "emb_path": other or "None"})
        for item, (one, other) in enumerate(texts)
    ]
    each = count(items)
    assert count([", ".join(items[:5])])[0] == each[:5].sum() + 4
    history = np.array([each[items].sum() + len(items) - 1 for items in histories])
    calls = (candidates >= 0).sum(axis=1)
    shown = np.where(candidates >= 0, each[candidates], 0).sum(axis=1)
    return np.asarray(calls * (RELEASED_INSTRUCTIONS + RELEASED_FRAME + LISTS + history) + shown)


def ours(prompts: CodePrompts, found: UserCandidates, count: Callable[[list[str]], Indices]) -> Indices:
    """(users,) tokens of the one call about a user."""

    def request(row: int) -> Request:
        return prompts.request(int(found.users[row]), found.items[row][found.items[row] >= 0])

    asked = [request(row) for row in range(len(found))]
    return np.asarray(sum(count([one.messages[part].content for one in asked]) for part in (0, 1)))


def line(name: str, theirs: Indices, own: Indices) -> list[str]:
    return [
        name,
        f"{len(own):,}",
        f"{np.median(theirs):,.0f}",
        f"{np.median(own):,.0f}",
        f"1/{np.median(theirs / own):.1f}",
        f"{theirs.sum():,}",
        f"{own.sum():,}",
        f"1/{theirs.sum() / own.sum():.1f}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("split", type=Path)
    parser.add_argument("release", type=Path, help="the folder with candidate_items.txt and the path encodings")
    given = parser.parse_args()
    data, name = splits.read_split(given.split), given.release.name
    offset = data.train.n_users
    paths = [given.release / f"{name}_{kind}_path_encoding.txt.gz" for kind in ("struct", "semantic")]
    codes = Trees(*(read_released_codes(path, data.train.n_items, item_offset=offset)[0] for path in paths), "released")
    found = RecordedJudgements.from_table(read_judgements(given.release), data, []).candidates()
    histories = [data.train.items_of(user) for user in found.users.tolist()]
    count, lengths = counter(), data.train.counts[found.users]
    theirs = released(codes, histories, found.items, offset, count)
    own = ours(CodePrompts(data.train, codes), found, count)
    rows = [line("all", theirs, own)]
    for least, most in LENGTHS:
        chosen = (lengths >= least) & (lengths <= most)
        if chosen.any():
            rows.append(line(f"{least} to {min(most, int(lengths.max()))}", theirs[chosen], own[chosen]))
    header = [
        "train items",
        "users",
        "release, median",
        "ours, median",
        "median ratio",
        "release, all",
        "ours, all",
        "ratio",
    ]
    calls = int((found.items >= 0).sum())
    text = (
        f"# Prompt tokens of judging\n\nDTL-NS candidates of {name}: {calls:,} candidates of {len(found):,} users, all counted. "
        f"The release asks {calls:,} times, ours {len(found):,} times, with the same path codes shown. MiniLM tokens a user, "
        "instructions included, answers and chat marks not; no prefix is taken to be cached.\n\n"
        + printers.markdown(header, rows)
    )
    RESULTS.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
