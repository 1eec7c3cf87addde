"""`hardneg doctor`."""

from __future__ import annotations

import os
import platform

from hardneg.cli.shell import JsonOption, emit, table

PACKAGES = ("hardneg", "torch", "numpy", "scipy", "polars", "scikit-learn", "sentence-transformers", "transformers")


def doctor(as_json: JsonOption = False) -> None:
    """Say what this machine can do: cores, memory, GPU, kernels, text encoder, versions.

    Example: `hardneg doctor`
    """
    import torch

    facts = {
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
        "memory": _memory(),
        "GPU": ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
        or "none; everything runs on the CPU",
        "graph product": f"torch compressed rows, {_mkl()}, own backward",
        "packaged MiniLM": _minilm(),
        **{name: _version(name) for name in PACKAGES},
    }
    emit(facts, as_json=as_json, text=table(["what", "found"], [[name, fact] for name, fact in facts.items()]))


def _mkl() -> str:
    import torch

    return "MKL" if torch.backends.mkl.is_available() else "no MKL"  # type: ignore[no-untyped-call]


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
