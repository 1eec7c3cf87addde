"""Generation of item and user profiles (HNLMRec eq. 2 and 3)."""

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

ProfileAnswer = tuple[ParsedReply, str]
"""An answer, and the reason why it has no text ("" where it has one)."""


def generate_profiles(
    split: Split, executor: LlmExecutor, model: ModelInfo, config: ProfilesConfig = DEFAULT
) -> Profiles:
    """Generate a profile of every item, then of every user; users' prompts contain the profiles of their train items.

    Rows without a profile hold "" and are listed in `missing` with the reason. Reads only train pairs, train reviews
    and item texts of the split.
    """
    items = request_profiles(ItemPrompts(split, model, config), ITEM_PROMPT, executor, model)
    user_prompts = UserPrompts(split, [answer.text for answer, _ in items], model, config)
    users = request_profiles(user_prompts, USER_PROMPT, executor, model)
    return Profiles(
        [answer.text for answer, _ in items],
        [answer.text for answer, _ in users],
        model.name,
        [answer.reasoning for answer, _ in items],
        [answer.reasoning for answer, _ in users],
        (*_missing("item", items), *_missing("user", users)),
    )


def _missing(side: ProfileSide, answers: list[ProfileAnswer]) -> Iterator[Missing]:
    return (Missing(side, row, reason) for row, (_, reason) in enumerate(answers) if reason)


def request_profiles(
    prompts: PromptSet,
    prompt_name: str,
    executor: LlmExecutor,
    model: ModelInfo,
    rows: Sequence[int] | Indices | None = None,
) -> list[ProfileAnswer]:
    """Return the answers of these rows, or of all rows of the prompts.

    Requests are built while the executor consumes them, so that they are never in memory together.
    """
    rows = range(len(prompts)) if rows is None else [int(row) for row in rows]
    answers: dict[int, ProfileAnswer] = {row: (ParsedReply("", ""), NOT_ANSWERED) for row in rows}
    parse = profile_parser(load_prompt(prompt_name).header.answer_words, model.chat_markers)

    def tasks() -> Iterator[Task[ParsedReply]]:
        for row in rows:
            request = prompts.request(row)
            if isinstance(request, str):
                answers[row] = (ParsedReply("", ""), request)
            else:
                yield Task(row, request, parse)

    for answer in executor(tasks(), len(rows)):
        value = answer.value
        answers[answer.row] = (ParsedReply("", ""), answer.reason) if value is None else (value, value.reason)
    return [answers[row] for row in rows]
