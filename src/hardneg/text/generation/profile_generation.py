"""Profiles that a language model writes (HNLMRec eq. 2 and 3): who would enjoy an item, and what a user likes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hardneg.data.split import Split
from hardneg.llm.tasks import Task
from hardneg.text.generation.executor import LlmExecutor, ModelInfo
from hardneg.text.generation.profile_prompts import (
    ITEM_PROMPT,
    USER_PROMPT,
    ItemPrompts,
    ProfilesConfig,
    PromptSet,
    UserPrompts,
)
from hardneg.text.generation.prompt_template import load_prompt
from hardneg.text.generation.reply_parsers import ParsedReply, profile_parser
from hardneg.text.profiles import Missing, Profiles, ProfileSide
from hardneg.types import Indices

NOT_ANSWERED = "not answered"
DEFAULT = ProfilesConfig()


def generate_profiles(split: Split, asker: LlmExecutor, view: ModelInfo, config: ProfilesConfig = DEFAULT) -> Profiles:
    """Have a profile written for every item, then for every user, who is shown those of the user's train items.

    Rows without a profile hold "" and are named in `missing` with the reason: nothing is known, the model found none,
    its replies could not be used. The split's train pairs, train reviews and item texts are all that is read.
    """
    items = request_profiles(ItemPrompts(split, view, config), ITEM_PROMPT, asker, view)
    shown = UserPrompts(split, [answer.text for answer, _ in items], view, config)
    users = request_profiles(shown, USER_PROMPT, asker, view)
    return Profiles(
        [answer.text for answer, _ in items],
        [answer.text for answer, _ in users],
        view.name,
        [answer.reasoning for answer, _ in items],
        [answer.reasoning for answer, _ in users],
        (*_missing("item", items), *_missing("user", users)),
    )


def _missing(side: ProfileSide, answers: list[tuple[ParsedReply, str]]) -> Iterator[Missing]:
    return (Missing(side, row, why) for row, (_, why) in enumerate(answers) if why)


def request_profiles(
    prompts: PromptSet, name: str, asker: LlmExecutor, view: ModelInfo, rows: Sequence[int] | Indices | None = None
) -> list[tuple[ParsedReply, str]]:
    """Each row's answer and, where it has no text, the reason why; without `rows`, all rows of the prompts.

    Prompts are made one by one while the asker takes them, so that they never stand in memory together.
    """
    wanted = range(len(prompts)) if rows is None else [int(row) for row in rows]
    found = {row: (ParsedReply("", ""), NOT_ANSWERED) for row in wanted}
    parse = profile_parser(load_prompt(name).head.answer_words, view.chat_markers)

    def tasks() -> Iterator[Task[ParsedReply]]:
        for row in wanted:
            request = prompts.request(row)
            if isinstance(request, str):
                found[row] = (ParsedReply("", ""), request)
            else:
                yield Task(row, request, parse)

    for answer in asker(tasks(), len(wanted)):
        value = answer.value
        found[answer.row] = (ParsedReply("", ""), answer.reason) if value is None else (value, value.reason)
    return [found[row] for row in wanted]
