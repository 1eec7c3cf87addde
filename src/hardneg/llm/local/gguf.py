"""GGUF files as folders that transformers opens: converted once, and identified by the file, not by the conversion."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

from hardneg.artifacts import MANIFEST, is_artifact, read_manifest
from hardneg.errors import ConfigError
from hardneg.stage import Draft, Stage
from hardneg.storage import read_json
from hardneg.types import Progress

KIND = "language model"
"""Kind of the folder in its manifest."""
GGUF = "GGUF"
"""Input of the folder in its manifest: SHA-256 of the file."""
MAGIC = b"GGUF"
REQUIRED = ("gguf", "accelerate", "transformers")


def source_hash(folder: Path) -> str | None:
    """Return the SHA-256 of the GGUF file that a folder was converted from; None for folders of any other origin.

    Raises DamagedError where a file of the folder differs from its manifest.
    """
    if not is_artifact(folder) or read_json(folder / MANIFEST).get("kind") != KIND:
        return None
    return str(read_manifest(folder, KIND)["inputs"][GGUF])


def conversion_stage(path: Path, digest: str, name: str, notes: Mapping[str, Any], progress: Progress) -> Stage:
    """Return the stage that converts a GGUF file into a folder: settings, weights in bfloat16, tokenizer, chat template.

    digest: SHA-256 of the file. name: the model's, for messages. notes: for the manifest.
    """

    def build(draft: Draft) -> None:
        try:
            _convert(path, draft.folder, name, progress)
        except BaseException:  # there is nothing to continue from, and the disk may be full
            for file in draft.folder.iterdir():
                file.unlink()
            raise
        converted_by = {library: version(library) for library in (*REQUIRED, "torch")}
        draft.notes |= {"name": name, **notes, "converted by": converted_by}

    return Stage(KIND, {"weights": "bfloat16"}, {GGUF: digest}, build)


def _convert(path: Path, folder: Path, name: str, progress: Progress) -> None:
    """Write the converted model into `folder`. Raises ConfigError where the file cannot be read or is not supported."""
    model, tokenizer = _load(path, name, progress)
    model.is_quantized, model.quantization_method = False, None  # save_pretrained refuses otherwise
    model.hf_quantizer = None
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    progress(f"writing {name}", 0, 1)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    progress(f"writing {name}", 1, 1)


def _load(path: Path, name: str, progress: Progress) -> tuple[Any, Any]:
    """Return network and tokenizer of a GGUF file."""
    if missing := [library for library in REQUIRED if find_spec(library) is None]:
        raise ConfigError(f"GGUF files need {missing[0]}, which is not installed; run pip install 'hardneg[local]'")
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise ConfigError(f"{path} is no GGUF file; give one, or a model's folder")
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    with TemporaryDirectory() as alone, silence_transformers(), _watch_tensors(name, progress):
        (Path(alone) / "model.gguf").symlink_to(path.resolve())  # transformers reads other files beside it
        options: dict[str, Any] = {"gguf_file": "model.gguf", "local_files_only": True, "trust_remote_code": False}
        try:
            progress(f"reading settings of {name}", 0, 2)
            options["config"] = AutoConfig.from_pretrained(alone, **options)
            progress(f"reading settings of {name}", 1, 2)
            tokenizer = AutoTokenizer.from_pretrained(alone, **options)
            progress(f"reading settings of {name}", 2, 2)
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                alone, **options, dtype=torch.bfloat16, output_loading_info=True
            )
        except Exception as error:  # noqa: BLE001 - a file of others may raise anything in these libraries
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise ConfigError(f"{path} cannot be converted ({reason}); give another GGUF file") from None
    model, report = loaded
    if lacking := sorted(report["missing_keys"]):
        raise ConfigError(f"{path} lacks {len(lacking)} weights (first: {lacking[0]}); give another GGUF file")
    return model, tokenizer


@contextmanager
def silence_transformers() -> Iterator[None]:
    """Keep transformers from printing; hardneg shows its own progress and errors."""
    from transformers.utils import logging

    verbosity = logging.get_verbosity()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)


@contextmanager
def _watch_tensors(name: str, progress: Progress) -> Iterator[None]:
    """Report the tensors that transformers converts, in place of its own bar."""
    from transformers import modeling_gguf_pytorch_utils as loader

    def watched(tensors: Iterable[Any], **_: Any) -> Iterator[Any]:
        everything = list(tensors)
        total, done = sum(int(tensor.n_elements) for tensor in everything), 0
        for tensor in everything:
            yield tensor
            done += int(tensor.n_elements)
            progress(f"converting {name} (million weights)", done // 10**6, total // 10**6)

    with patch.object(loader, "tqdm", watched):
        yield
