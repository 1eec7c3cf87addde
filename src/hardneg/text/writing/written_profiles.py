"""Profiles that a language model writes (HNLMRec eq. 2 and 3): who would enjoy an item, and what a user likes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hardneg.data.split import Split
from hardneg.llm.tasks import Task
from hardneg.text.profiles import Missing, Profiles, Side
from hardneg.text.writing.asking import Asker, ModelView
from hardneg.text.writing.profile_prompts import (
    ITEM_PROMPT,
    USER_PROMPT,
    ItemPrompts,
    ProfilesConfig,
    Prompts,
    UserPrompts,
)
from hardneg.text.writing.prompt import prompt
from hardneg.text.writing.replies import Said, profile_parser
from hardneg.types import Indices

NOT_ANSWERED = "not answered"
DEFAULT = ProfilesConfig()


def write_profiles(split: Split, asker: Asker, view: ModelView, config: ProfilesConfig = DEFAULT) -> Profiles:
    """Have a profile written for every item, then for every user, who is shown those of the user's train items.

    Rows without a profile hold "" and are named in `missing` with the reason: nothing is known, the model found none,
    its replies could not be used. The split's train pairs, train reviews and item texts are all that is read.
    """
    items = ask_rows(ItemPrompts(split, view, config), ITEM_PROMPT, asker, view)
    shown = UserPrompts(split, [answer.text for answer, _ in items], view, config)
    users = ask_rows(shown, USER_PROMPT, asker, view)
    return Profiles(
        [answer.text for answer, _ in items],
        [answer.text for answer, _ in users],
        view.name,
        [answer.reasoning for answer, _ in items],
        [answer.reasoning for answer, _ in users],
        (*_missing("item", items), *_missing("user", users)),
    )


def _missing(side: Side, answers: list[tuple[Said, str]]) -> Iterator[Missing]:
    return (Missing(side, row, why) for row, (_, why) in enumerate(answers) if why)


def ask_rows(
    prompts: Prompts, name: str, asker: Asker, view: ModelView, rows: Sequence[int] | Indices | None = None
) -> list[tuple[Said, str]]:
    """Each row's answer and, where it has no text, the reason why; without `rows`, all rows of the prompts.

    Prompts are made one by one while the asker takes them, so that they never stand in memory together.
    """
    wanted = range(len(prompts)) if rows is None else [int(row) for row in rows]
    found = {row: (Said("", ""), NOT_ANSWERED) for row in wanted}
    parse = profile_parser(prompt(name).head.answer_words, view.foreign)

    def tasks() -> Iterator[Task[Said]]:
        for row in wanted:
            request = prompts.request(row)
            if isinstance(request, str):
                found[row] = (Said("", ""), request)
            else:
                yield Task(row, request, parse)

    for answer in asker(tasks(), len(wanted)):
        value = answer.value
        found[answer.row] = (Said("", ""), answer.reason) if value is None else (value, value.reason)
    return [found[row] for row in wanted]
