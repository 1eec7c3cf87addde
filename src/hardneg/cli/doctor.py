"""`hardneg doctor`."""

from __future__ import annotations

import os
import platform

from hardneg.cli.common import OutputOptions, configure_torch, render_table

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


def doctor_command(shared: OutputOptions) -> None:
    """Print cores, memory, GPU, graph kernel and package versions.

    The graph kernels are timed with one thread. HARDNEG_KERNEL=numba or HARDNEG_KERNEL=mkl selects one by hand.

    Example: `hardneg doctor`
    """
    import torch

    configure_torch(1)
    facts = {
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
        "memory": _memory(),
        "GPU": ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
        or "none; everything runs on the CPU",
        "graph kernel on the CPU": _kernel(),
        "packaged MiniLM": _minilm(),
        **{name: _version(name) for name in PACKAGES},
    }
    cells = [[name, fact] for name, fact in facts.items()]
    shared.emit(facts, render_table(["property", "value"], cells), ("demo",))


def _kernel() -> str:
    """Return which kernel runs, and how much faster it is than the other one."""
    import torch

    from hardneg.models import graph

    names = {"numba": "hardneg's own, compiled by numba", "mkl": "torch's compressed rows, MKL"}
    chosen, seconds = graph.cpu_kernel(), graph.measure_kernels()
    other = next(name for name in seconds if name != chosen)
    threads = torch.get_num_threads()
    times = f"{seconds[other] / seconds[chosen]:.1f} times as fast as {names[other]}, {threads} thread(s)"
    return f"{names[chosen]} ({times}); 16 bits: hardneg's own. On CUDA: torch's"


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
    return "present, files verified"


def _version(name: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"
