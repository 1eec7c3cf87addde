"""Contents of a store of replies, by kind."""

from __future__ import annotations

from hardneg.llm.engine.store import Failure, ReplyStore
from hardneg.llm.protocol import Reply


def stored_replies(store: ReplyStore) -> dict[str, Reply]:
    """Return every reply by its key, oldest first."""
    return {key: outcome for key, outcome in store.known().items() if isinstance(outcome, Reply)}


def stored_failures(store: ReplyStore) -> dict[str, Failure]:
    """Return every failure and refusal by its key, oldest first."""
    return {key: outcome for key, outcome in store.known().items() if isinstance(outcome, Failure)}
