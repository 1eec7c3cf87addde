"""Prompt tokens of judging the candidates that DTL-NS published: one call per user, or per candidate as in its code.

    python benchmarks/judge_tokens.py data/sports-split ../shared/data/dtlns/Sports

Both prompts contain the two path codes of every item of the history and of every candidate, and state the same rule. The
released code (github.com/w158937299/DTL-NS, commit bd99a43) sends its instructions, the whole history and one candidate in
every call. Each item is {"item_id", "co_path", "emb_path"} in JSON. It instructs the model to ignore the item_id, which our
prompt omits. The token counts of its instructions and of the text around its data were taken from its files.
Our prompt is that of `hardneg suspects identify --judge llm`. It contains equal history items once, with their count.

Tokens are counted with the packaged MiniLM tokenizer, for every user and candidate. Chat markers and answers are excluded,
and no prefix is assumed to be cached. Writes benchmarks/results/judge_tokens.md.
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
"""MiniLM tokens of data/prompt_classify.txt, and of the text that LLM_reasoning.py adds around its two lists."""
LISTS = 4
"""Tokens of the brackets of the two lists."""
LENGTHS = ((1, 5), (6, 10), (11, 20), (21, 50), (51, 10**6))
RESULTS = Path(__file__).parent / "results" / "judge_tokens.md"


def token_counter() -> Callable[[list[str]], Indices]:
    """Return a function that counts the tokens of texts, without special tokens."""
    tokenizer = Tokenizer.from_file(str(packaged_minilm() / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()

    def count(texts: list[str]) -> Indices:
        return np.array([len(encoding.ids) for encoding in tokenizer.encode_batch(texts, add_special_tokens=False)])

    return count


def count_released(
    codes: Trees, histories: list[Indices], candidates: Indices, offset: int, count: Callable[[list[str]], Indices]
) -> Indices:
    """Return the tokens (users,) of all calls about a user. MiniLM splits at punctuation, so token counts add up."""
    texts = zip(codes.structural.texts(), codes.semantic.texts(), strict=True)
    items = [
        json.dumps({"item_id": item + offset, "co_path": structural or "None", "emb_path": semantic or "None"})
        for item, (structural, semantic) in enumerate(texts)
    ]
    item_tokens = count(items)
    assert count([", ".join(items[:5])])[0] == item_tokens[:5].sum() + 4
    history = np.array([item_tokens[items].sum() + len(items) - 1 for items in histories])
    calls = (candidates >= 0).sum(axis=1)
    candidate_tokens = np.where(candidates >= 0, item_tokens[candidates], 0).sum(axis=1)
    return np.asarray(calls * (RELEASED_INSTRUCTIONS + RELEASED_FRAME + LISTS + history) + candidate_tokens)


def count_ours(prompts: CodePrompts, candidates: UserCandidates, count: Callable[[list[str]], Indices]) -> Indices:
    """Return the tokens (users,) of the single call about a user."""

    def request(row: int) -> Request:
        return prompts.request(int(candidates.users[row]), candidates.items[row][candidates.items[row] >= 0])

    requests = [request(row) for row in range(len(candidates))]
    return np.asarray(sum(count([r.messages[part].content for r in requests]) for part in (0, 1)))


def table_row(name: str, theirs: Indices, own: Indices) -> list[str]:
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
    arguments = parser.parse_args()
    data, name = splits.read_split(arguments.split), arguments.release.name
    offset = data.train.n_users
    paths = [arguments.release / f"{name}_{kind}_path_encoding.txt.gz" for kind in ("struct", "semantic")]
    codes = Trees(*(read_released_codes(path, data.train.n_items, item_offset=offset)[0] for path in paths), "released")
    candidates = RecordedJudgements.from_table(read_judgements(arguments.release), data, []).candidates()
    histories = [data.train.items_of(user) for user in candidates.users.tolist()]
    count, lengths = token_counter(), data.train.counts[candidates.users]
    theirs = count_released(codes, histories, candidates.items, offset, count)
    own = count_ours(CodePrompts(data.train, codes), candidates, count)
    rows = [table_row("all", theirs, own)]
    for least, most in LENGTHS:
        chosen = (lengths >= least) & (lengths <= most)
        if chosen.any():
            rows.append(table_row(f"{least} to {min(most, int(lengths.max()))}", theirs[chosen], own[chosen]))
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
    calls = int((candidates.items >= 0).sum())
    text = (
        f"# Prompt tokens of judging\n\nDTL-NS candidates of {name}: {calls:,} candidates of {len(candidates):,} users, all counted. "
        f"The released code needs {calls:,} calls, ours {len(candidates):,}, with the same path codes. MiniLM tokens per user, with "
        "instructions, without answers and chat markers; no prefix is assumed to be cached.\n\n"
        + printers.markdown(header, rows)
    )
    RESULTS.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
