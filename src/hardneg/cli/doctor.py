"""`hardneg doctor`."""

from __future__ import annotations

import os
import platform

from hardneg.cli.common import JsonOption, emit, table
from hardneg.cli.llm_options import KeyOption, LlmOption

PACKAGES = (
    "hardneg",
    "torch",
    "numpy",
    "scipy",
    "polars",
    "numba",
    "scikit-learn",
    "sentence-transformers",
    "transformers",
    "openai",
    "outlines-core",
)


def doctor(
    llm: LlmOption = None,
    key_variable: KeyOption = "",
    as_json: JsonOption = False,
) -> None:
    """Say what this machine can do: cores, memory, GPU, kernels, text encoder, versions.

    The graph's product is timed here, with one thread; HARDNEG_KERNEL=numba or mkl chooses by hand. --llm: what a
    language model really does; an endpoint is asked five to eight small questions, since some accept options and ignore them.

    Examples:

    `hardneg doctor`

    `hardneg doctor --llm http://localhost:8000/v1#qwen`
    """
    import torch

    torch.set_num_threads(1)
    facts = {
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
        "memory": _memory(),
        "GPU": ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
        or "none; everything runs on the CPU",
        "graph product on the CPU": _kernel(),
        "packaged MiniLM": _minilm(),
        **{name: _version(name) for name in PACKAGES},
        **({} if llm is None else {f"language model {llm}": _language_model(llm, key_variable)}),
    }
    emit(facts, as_json=as_json, text=table(["what", "found"], [[name, fact] for name, fact in facts.items()]))


def _language_model(name: str, key_variable: str) -> str:
    """What a model does, as far as it can be seen from here."""
    import asyncio

    from hardneg.llm.local.model import LocalModel
    from hardneg.llm.names import open_model
    from hardneg.llm.protocol import CallFailed, LlmError
    from hardneg.llm.remote.probe import Capabilities

    model = open_model(name, key_variable=key_variable)
    if isinstance(model, LocalModel):
        return f"{model.describe()}; answers held to schemas, closed lists and labels"

    async def probed() -> Capabilities:
        try:
            return await model.probe()
        finally:
            await model.aclose()

    try:
        return asyncio.run(probed()).describe().replace("\n", "; ")
    except CallFailed as failed:
        raise LlmError(f"{model.name} does not answer ({failed.reason}); check that it runs, and its address") from None


def _kernel() -> str:
    """Which kernel runs, and how much faster it is than the other here."""
    import torch

    from hardneg.models import kernel_selection

    names = {"numba": "our own, compiled by numba", "mkl": "torch's compressed rows, MKL"}
    chosen, seconds = kernel_selection.kernel(), kernel_selection.measure()
    other = next(name for name in seconds if name != chosen)
    threads = torch.get_num_threads()
    times = f"{seconds[other] / seconds[chosen]:.1f} times as fast as {names[other]}, {threads} thread(s)"
    return f"{names[chosen]} ({times}); 16 bits: our own. On CUDA: torch's"


def _memory() -> str:
    try:
        return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB"
    except (ValueError, OSError, AttributeError):
        return "unknown"


def _minilm() -> str:
    from hardneg.errors import HardnegError
    from hardneg.text.encoders import packaged_minilm

    try:
        packaged_minilm()
    except (HardnegError, ImportError) as error:
        return f"unusable: {error}"
    return "present, files as checked"


def _version(name: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"
