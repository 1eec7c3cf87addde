"""The language model of the demo: recorded replies that come with the package, or a model that is asked now."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

from hardneg.data.simulate import TextQuality
from hardneg.llm.engine.store import ReplyStore
from hardneg.llm.recorded import RecordedModel, read_recording
from hardneg.llm.session import Session
from hardneg.llm.usage import FREE
from hardneg.mining.generated import GeneratedConfig
from hardneg.pipeline import GenerationConfig

NAMING = GenerationConfig(per="item", use=GeneratedConfig(naming="grounded"))
"""Requests of the demo and the use of the replies; changing the requests needs new recordings."""
RECORDED = "recorded.sqlite"
"""Store of the recorded replies, in the folder of the demo."""


def recording_path(text: TextQuality) -> Path:
    """Return the packaged file of replies about the store with item texts of this quality."""
    return Path(str(files("hardneg.demo") / "replies" / f"{text}.jsonl.gz"))


def explain_unrecorded(text: TextQuality) -> str:
    """Return why no negatives are named where the package has no replies about the store, and what to do."""
    return (
        f"no language model: no replies about the store with {text} item texts are recorded; give --llm NAME, or record "
        f"them with python reproduction/record_demo.py {text} --llm NAME"
    )


@contextmanager
def open_recorded(text: TextQuality, out: Path) -> Iterator[Session | None]:
    """Open the recorded model with a store, in the folder of the demo, that holds its replies; None without a file."""
    path = recording_path(text)
    if not path.is_file():
        yield None
        return
    recording = read_recording(path)
    with ReplyStore(out / RECORDED, keep_requests=False) as store:
        recording.fill(store)
        yield Session(RecordedModel(recording), store, price=FREE, activity="reading recorded replies of")


def describe_model(session: Session) -> str:
    """Return who named the negatives, after the run: recorded replies and their date, or calls that were made now."""
    model, usage = session.model, session.usage
    if isinstance(model, RecordedModel):
        return f"{model.recording.describe()}; no model was called"
    tokens = usage.prompt_tokens + usage.answer_tokens
    return f"{model.name}, {usage.calls:,} calls and {tokens:,} tokens in this run; replies are in {session.store.path}"
