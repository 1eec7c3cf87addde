"""Generation of item and user profiles (HNLMRec eq. 2 and 3)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hardneg.data.split import Split
from hardneg.llm.protocol import ChatModel
from hardneg.llm.tasks import Task
from hardneg.text.generation.executor import LlmExecutor
from hardneg.text.generation.profile_prompts import (
    ITEM_PROMPT,
    USER_PROMPT,
    ItemPrompts,
    ProfilesConfig,
    UserPrompts,
)
from hardneg.text.generation.prompt_template import load_prompt
from hardneg.text.generation.reply_parsers import ParsedReply, profile_parser
from hardneg.text.profiles import Missing, Profiles, ProfileSide
from hardneg.types import Indices

NOT_ANSWERED = "not answered"
DEFAULT = ProfilesConfig()


def generate_profiles(
    split: Split, executor: LlmExecutor, model: ChatModel, config: ProfilesConfig = DEFAULT
) -> Profiles:
    """Generate a profile of every item, then of every user; users' prompts contain the profiles of their train items.

    Rows without a profile hold "" and are listed in `missing` with the reason. Reads only train pairs, train reviews
    and item texts of the split.
    """
    items = request_profiles(ItemPrompts(split, model, config), ITEM_PROMPT, executor, model)
    user_prompts = UserPrompts(split, [answer.text for answer in items], model, config)
    users = request_profiles(user_prompts, USER_PROMPT, executor, model)
    return Profiles(
        [answer.text for answer in items],
        [answer.text for answer in users],
        model.name,
        [answer.reasoning for answer in items],
        [answer.reasoning for answer in users],
        (*_missing("item", items), *_missing("user", users)),
    )


def _missing(side: ProfileSide, answers: list[ParsedReply]) -> Iterator[Missing]:
    return (Missing(side, row, answer.reason) for row, answer in enumerate(answers) if answer.reason)


def request_profiles(
    prompts: ItemPrompts | UserPrompts,
    prompt_name: str,
    executor: LlmExecutor,
    model: ChatModel,
    rows: Sequence[int] | Indices | None = None,
) -> list[ParsedReply]:
    """Return the answers of these rows, or of all rows of the prompts.

    Requests are built while the executor consumes them, so that they are never in memory together.
    """
    rows = range(len(prompts)) if rows is None else [int(row) for row in rows]
    answers = {row: ParsedReply(reason=NOT_ANSWERED) for row in rows}
    parse = profile_parser(load_prompt(prompt_name).header.answer_words, model.chat_markers)

    def tasks() -> Iterator[Task[ParsedReply]]:
        for row in rows:
            request = prompts.request(row)
            if isinstance(request, str):
                answers[row] = ParsedReply(reason=request)
            else:
                yield Task(row, request, parse)

    for answer in executor(tasks(), len(rows)):
        answers[answer.row] = answer.value or ParsedReply(reason=answer.reason)
    return [answers[row] for row in rows]
