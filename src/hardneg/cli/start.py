"""First commands: `hardneg demo` and `hardneg doctor`."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from timeit import timeit
from typing import TYPE_CHECKING, Annotated, Literal

from rich.text import Text
from typer import Option

from hardneg.cli.common import OutputOptions, configure_torch
from hardneg.cli.llm_options import STORE, LlmOptions, open_session
from hardneg.cli.output import ProgressDisplay, console, emit_following, render_table, show_progress
from hardneg.types import WeightPrecision

if TYPE_CHECKING:
    from hardneg.llm.session import Session

WIDE = 150
"""Width of a terminal, in columns, that shows the whole table; a narrower one shows the most important columns."""
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


@dataclass(frozen=True)
class DemoModelOptions(LlmOptions):
    """Options of the language model that is asked in place of the recorded replies."""

    store: Annotated[
        Path | None,
        Option("--store", help=STORE, show_default="OUT/replies.sqlite", rich_help_panel="Language model"),
    ] = None


def demo_command(
    shared: OutputOptions,
    llm: DemoModelOptions,
    out: Annotated[Path, Option(help="Folder to write.")] = Path("out/demo"),
    text: Annotated[
        Literal["informative", "weak", "misleading"], Option(help="How item texts relate to user preferences.")
    ] = "informative",
    seeds: Annotated[int, Option(min=3, max=1000, help="Number of runs of every row, with seeds 0, 1, ...")] = 3,
    workers: Annotated[int, Option(min=1, max=256, help="Number of training processes, one thread each.")] = 2,
) -> None:
    """Compare samplers on a simulated store.

    Prints a table and writes a page, OUT/report.html. Takes a few minutes on two cores and downloads nothing. Finished folders in OUT are reused.

    One row has negatives that a language model named: its replies are recorded and come with the package. With --llm, a model is asked instead; its replies are kept in OUT/replies.sqlite, so that an interrupted command goes on.

    Example: `hardneg demo --text misleading --out out/misleading`
    """
    from hardneg.demo import METRICS, run_demo

    configure_torch(workers)
    with show_progress() as progress, _open_model(llm, out, progress) as session:
        result = run_demo(
            out,
            text=text,
            seeds=seeds,
            workers=workers,
            session=session,
            progress=progress,
            finished=lambda done, total, _: progress("training runs", done, total),
        )
    values = {
        "rows": result.frame.to_dicts(),
        "metrics": METRICS,
        "language model": result.language_model,
        "page": str(result.page),
    }
    columns = [
        column
        for column, header in enumerate(result.headers)
        if console().width >= WIDE or not header.startswith(("Recall", "users", "nearest", "s /", "notes"))
    ]
    cells = [[row[column] for column in columns] for row in result.cells]
    shared.emit(values, render_table([result.headers[column] for column in columns], cells))
    if shared.as_json:
        return
    for question, answer in result.answers:
        console().print(Text.assemble((question, "bold"), f" {answer}"))
    console().print(f"Negatives were named by {result.language_model}.", markup=False)
    console().print(f"\nWritten: {result.page}", markup=False)
    emit_following(("run", "YOUR-ORDERS.csv", "YOUR-PRODUCTS.csv", "--out", "out/shop"))


@contextmanager
def _open_model(llm: LlmOptions, out: Path, progress: ProgressDisplay) -> Iterator[Session | None]:
    """Open the model of --llm with its reply store, by default in `out`; None for the recorded replies."""
    config = llm.config
    if config.model is None:
        yield None
        return
    if "store" not in config.model_fields_set:
        config = config.model_copy(update={"store": out / "replies.sqlite"})
    with open_session(config, "cpu", progress, activity="naming negatives with") as session:
        yield session


def doctor_command(
    shared: OutputOptions,
    measure: Annotated[bool, Option("--measure", help="Time the loops again, and keep the new times.")] = False,
    threads: Annotated[int, Option(min=1, max=1024, help="Threads of the timed loops.")] = 1,
) -> None:
    """Print cores, memory, GPU, speed of the longest loops and package versions.

    Products of the graph use the fastest of several implementations, and evaluations a ranking in 16 bits where it is clearly faster. They are timed at the first use on a processor, number of threads and versions of libraries, and the times are kept in speeds.json of the cache folder. HARDNEG_KERNEL=numba or HARDNEG_KERNEL=mkl selects the kernel of the graph by hand.

    Examples:

    `hardneg doctor`

    `hardneg doctor --measure --threads 2`
    """
    import torch

    configure_torch(threads)
    facts = {
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
        "memory": _memory(),
        "GPU": ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
        or "none; everything runs on the CPU",
        **_loops(again=measure),
        "matrix products": _matrix_products(),
        "packaged MiniLM": _minilm(),
        **{name: _version(name) for name in PACKAGES},
    }
    cells = [[name, fact] for name, fact in facts.items()]
    shared.emit(facts, render_table(["property", "value"], cells), ("demo",))


def _loops(*, again: bool) -> dict[str, str]:
    """Return loop -> the implementation that is used on the CPU, and the milliseconds of each."""
    from hardneg.evaluation.ranking import RANKING, preferred_ranking
    from hardneg.models import graph

    speeds = {loop: loop.seconds(again=again) for loop in (graph.PRODUCT, RANKING)}
    used = {graph.PRODUCT: graph.cpu_kernel(), RANKING: preferred_ranking()}
    return {loop.name: f"{used[loop]} ({_milliseconds(seconds)})" for loop, seconds in speeds.items()}


def _milliseconds(seconds: Mapping[str, float]) -> str:
    return ", ".join(
        f"{name} {1000 * seconds[name]:.3g} ms" for name in sorted(seconds, key=lambda name: seconds[name])
    )


def _matrix_products() -> str:
    """Return the rates of both precisions of language models, and how much faster bfloat16 is."""
    rates = measure_matrix_rates()
    text = ", ".join(f"{name} {rate:,.0f} GFLOP/s" for name, rate in rates.items())
    return f"{text}; bfloat16 is {rates['bfloat16'] / rates['float32']:.1f} times as fast (see --precision)"


def measure_matrix_rates() -> dict[WeightPrecision, float]:
    """Return precision -> GFLOP/s of matrix products on the CPU, the best of twenty alternating rounds.

    The shapes are those of a language model that reads a few prompts: 512 rows, 1,024 inputs, 1,024 outputs.
    """
    import torch

    dtypes: dict[WeightPrecision, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    matrices = {
        name: (torch.ones(512, 1024, dtype=dtype), torch.ones(1024, 1024, dtype=dtype))
        for name, dtype in dtypes.items()
    }
    calls = {name: partial(torch.mm, *pair) for name, pair in matrices.items()}
    rounds = [{name: timeit(call, number=1) for name, call in calls.items()} for _ in range(20)]
    return {name: 2 * 512 * 1024 * 1024 / min(seconds[name] for seconds in rounds) / 1e9 for name in calls}


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
