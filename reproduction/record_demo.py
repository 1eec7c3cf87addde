"""Record the replies of a language model to the requests of `hardneg demo`; they come with the package.

    hardneg llm get qwen2.5-coder-1.5b
    python reproduction/record_demo.py informative --llm qwen2.5-coder-1.5b

Replaces src/hardneg/demo/replies/TEXT.jsonl.gz. Needed when a prompt of the demo or its simulated store changes. Replies
are kept in OUT, so that a killed recording goes on.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import get_args

from hardneg.artifacts import read_manifest
from hardneg.cli.output import ProgressDisplay, show_progress
from hardneg.data.simulate import TextQuality
from hardneg.demo.folders import DemoFolders
from hardneg.demo.language_model import recording_path
from hardneg.llm.engine.config import EngineConfig
from hardneg.llm.engine.store import ReplyOutcome, ReplyStore
from hardneg.llm.names import open_model
from hardneg.llm.packages.table import MODELS
from hardneg.llm.protocol import ChatModel
from hardneg.llm.recorded import Recording, RecordingHeader, record_replies, write_recording
from hardneg.llm.session import Session, UsageStats
from hardneg.llm.usage import FREE
from hardneg.sampling import mined
from hardneg.types import WeightPrecision

PACKAGES = ("hardneg", "torch", "transformers")


class WatchedStore(ReplyStore):
    """A store that remembers which keys were looked up."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.keys: set[str] = set()

    def known(self, keys: Sequence[str] | None = None) -> dict[str, ReplyOutcome]:
        self.keys.update(keys or ())
        return super().known(keys)


def record(
    folders: DemoFolders, model: ChatModel, licence: str, command: str, progress: ProgressDisplay | None = None
) -> Recording:
    """Ask the model everything that the demo asks, and return its replies."""
    folders.prepare()

    def watch(name: str, usage: UsageStats) -> None:
        if progress is not None:
            progress.show_usage(name, usage)

    with WatchedStore(folders.out / "replies.sqlite") as store, tempfile.TemporaryDirectory() as folder:
        session = Session(model, store, EngineConfig(timeout=3600), FREE, watch=watch, activity="recording")
        named = folders.naming_stage(session).run(Path(folder) / "named")
        header = RecordingHeader(
            model=model.name,
            identity=model.identity,
            chat_markers=model.chat_markers,
            context_length=model.context_length,
            prompts=read_manifest(named, mined.KIND)["config"]["prompts"],
            date=date.today().isoformat(),
            versions={name: version(name) for name in PACKAGES},
            licence=licence,
            command=command,
        )
        return record_replies(store, store.keys, header)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", choices=get_args(TextQuality))
    parser.add_argument("--llm", required=True)
    parser.add_argument("--licence", help="of the model; known for packaged models")
    parser.add_argument("--precision", choices=get_args(WeightPrecision), default="bfloat16")
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--out", type=Path, default=Path("out/recorded"))
    arguments = parser.parse_args()
    model = open_model(arguments.llm, precision=arguments.precision, batch_size=arguments.batch_size)
    licence = arguments.licence or MODELS[arguments.llm].licence
    command = f"python reproduction/record_demo.py {arguments.text} --llm {model.name}"
    folders = DemoFolders(arguments.out / arguments.text, arguments.text)
    with show_progress() as progress:
        recording = record(folders, model, f"{licence} (model); replies are generated text", command, progress)
    path = recording_path(arguments.text)
    write_recording(path, recording)
    print(f"{path}: {recording.describe()}, {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
