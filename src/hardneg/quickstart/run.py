"""The steps from two tables to an answer. Each is a stage, a search or a study, so that a repeated call continues."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import NonNegativeInt, PositiveFloat, PositiveInt

from hardneg import artifacts, pipeline, storage
from hardneg.config import Config, parse_config
from hardneg.data import dataset as datasets
from hardneg.data import split as splits
from hardneg.errors import ConfigError, DataError, HardnegError
from hardneg.plain_text import escape_line
from hardneg.quickstart import budget as budgets
from hardneg.quickstart.budget import TimeBudget, minutes_text
from hardneg.quickstart.column_guesses import ColumnMapping
from hardneg.quickstart.conclusions import choose_line, conclude
from hardneg.quickstart.final_model import fit_final_model
from hardneg.quickstart.methods import LanguageModel, Methods
from hardneg.quickstart.preparation import choose_preparation
from hardneg.studies.estimate import estimate_cells
from hardneg.studies.page import write_page
from hardneg.studies.process_pool import Outcome
from hardneg.studies.recipes import slug
from hardneg.studies.results import Results
from hardneg.studies.search import Search
from hardneg.studies.study import Study
from hardneg.studies.trials import require_optuna
from hardneg.text import item_texts, sentence_encoder
from hardneg.text.encoders import packaged_minilm
from hardneg.types import Progress, WeightPrecision

STEPS = 6
LEAST_WITH_TEXT = 0.5
"""Share of items that must have a text for methods that read texts."""
README, COLUMNS, PAGE = "README.txt", "columns.json", "page.html"
FILES = {
    PAGE: "the results as a page, for a browser",
    COLUMNS: "the meaning of the columns",
    "dataset/": "the two tables as they were read",
    "split/": "train, validation and test pairs",
    "study/": "search, comparison and tables (study/tables.md)",
    "everything/": "every pair as a train pair, for the final model",
    "final/": "texts and negatives of the final model",
    "model/": "the final model, for `hardneg recommend`",
    budgets.NAME: "trials and epochs that were decided from the time of an epoch",
}


class QuickstartConfig(Config):
    """Settings of the whole call; all but `workers` are fixed once the budget is decided."""

    minutes: PositiveFloat = 10
    """Time that search, comparison and final model may take."""
    trials: PositiveInt | None = None
    """Trials of each method; None for as many as the time allows."""
    epochs: PositiveInt | None = None
    """Most epochs of a run; None for as many as the time allows."""
    llm: str | None = None
    """Language model that names negatives."""
    precision: WeightPrecision | None = None
    """Precision of a language model in this process."""
    workers: NonNegativeInt = 1
    """Processes, one thread each; 0 runs everything in this one. Results do not depend on them."""


@dataclass(frozen=True)
class Answer:
    """The result: conclusions, the table, and the commands to go on with, as words after `hardneg`."""

    chosen: str
    conclusions: list[str]
    results: Results
    commands: list[list[str]]
    readme: Path
    page: Path


@dataclass
class Quickstart:
    """One call. report: receives a line for every step and decision. progress, ended: of the work within a step."""

    out: Path
    config: QuickstartConfig
    report: Callable[[str], None]
    progress: Progress | None = None
    ended: Callable[[str, int, int, Outcome], None] | None = None
    remarks: list[str] = field(default_factory=list)

    @property
    def dataset(self) -> Path:
        """The imported dataset."""
        return self.out / "dataset"

    @property
    def split(self) -> Path:
        """Its split."""
        return self.out / "split"

    @property
    def study_dir(self) -> Path:
        """Folder of the search and of the study, which share their artifacts."""
        return self.out / "study"

    def note(self, line: str) -> None:
        """Report a decision, and keep it for README.txt."""
        self.remarks.append(line)
        self.report(f"  {line}")

    def read_tables(self, orders: Path, products: Path | None, mapping: ColumnMapping, options: dict[str, Any]) -> None:
        """Import the tables."""
        self.report(f"[1/{STEPS}] Reading {orders.name}{'' if products is None else f' and {products.name}'}")
        named = {"columns": dict(mapping.columns), "item_columns": dict(mapping.item_columns)}
        options = {**options, **named, "time_format": mapping.time_format}
        files = {"interactions": orders, "items": products}
        request = pipeline.ImportRequest(mapping.source, files, options)
        pipeline.import_stage(request, self.progress).run(self.dataset)
        _write_json(self.out / COLUMNS, mapping)
        notes = artifacts.read_manifest(self.dataset, datasets.KIND)["notes"]
        for issue in notes["rows left out"]:
            self.note(f"{issue['where']}: {issue['count']:,} rows {issue['reason']}.")

    def divide(self) -> bool:
        """Choose filters and the split, make both splits, and return True where methods may read texts."""
        self.report(f"[2/{STEPS}] Choosing filters and dividing the pairs")
        prepared = choose_preparation(datasets.read_dataset(self.dataset))
        for remark in prepared.remarks:
            self.note(remark)
        pipeline.split_stage(self.dataset, prepared.split).run(self.split)
        pipeline.split_stage(self.dataset, prepared.everything).run(self.out / "everything")
        divided = splits.read_split(self.split)
        counts = ", ".join(f"{len(getattr(divided, part)):,} {part}" for part in ("train", "valid", "test"))
        tested = int((divided.test.counts > 0).sum())
        self.note(f"Pairs: {counts}; {tested:,} of {divided.train.n_users:,} users have test pairs.")
        return self._has_texts()

    def _has_texts(self) -> bool:
        """Return True where methods may read texts; else say why not."""
        notes = artifacts.read_manifest(self.split, splits.KIND)["notes"]
        with_text, n_items = notes.get("items with a text", 0), notes["items"]
        if with_text < LEAST_WITH_TEXT * n_items:
            self.note(f"No method reads texts: {with_text:,} of {n_items:,} items have one.")
            return False
        try:
            packaged_minilm()
        except (HardnegError, ImportError) as error:
            self.note(f"No method reads texts, since the sentence encoder is not usable ({error}).")
            return False
        return True

    def decide_budget(self, has_texts: bool) -> TimeBudget:
        """Return the methods, trials and epochs: those decided before, those given, or those that fit into the time."""
        self.report(f"[3/{STEPS}] Deciding on trials and epochs")
        config = self.config
        given = {"given_trials": config.trials, "given_epochs": config.epochs}
        asked: dict[str, object] = {
            "minutes": config.minutes,
            **given,
            "llm": config.llm,
            "precision": config.precision,
        }
        decided = budgets.read_budget(self.out, asked)
        if decided is None:
            decided = TimeBudget.model_validate({**asked, **self._measure(has_texts)})
            _write_json(self.out / budgets.NAME, decided)
        if has_texts and not decided.texts:
            self.note("No method reads texts, since encoding them would take too much of the minutes.")
        if config.llm is not None and not decided.texts:
            raise ConfigError("found --llm, but no item texts that fit into the minutes; give more --minutes, or texts")
        if config.llm is not None:
            n_items = artifacts.read_manifest(self.split, splits.KIND)["notes"]["items"]
            self.note(
                f"{config.llm} names products near each of {n_items:,} items, one request each, beyond the minutes."
            )
        if decided.trials > 1:
            require_optuna()
        self.note(decided.describe())
        return decided

    def methods(self, texts: bool) -> Methods:
        """Return the methods. texts: True where they may read texts."""
        if self.config.llm is None or not texts:
            return Methods(texts)
        store = self.out / "replies.sqlite"
        return Methods(texts, LanguageModel(self.config.llm, self.config.precision, store))

    def _measure(self, has_texts: bool) -> dict[str, Any]:
        """Return methods, backbone, trials, epochs, and what they are based on."""
        config, can_search = self.config, _has_optuna()
        if not can_search and config.trials is None:
            self.note("No search, since optuna is not installed: pip install 'hardneg[search]'.")
        if config.trials is not None and config.epochs is not None:
            plan = {"trials": config.trials, "epochs": config.epochs, "seconds": {}, "expected": (0, 0, 0)}
            return {"texts": has_texts, "backbone": next(iter(budgets.BACKBONES)), **plan}
        encoding = self._time_encoding() if has_texts else 0.0
        texts = has_texts and encoding <= budgets.MOST_ENCODING * 60 * config.minutes
        available = budgets.SHARE * 60 * config.minutes - (encoding if texts else 0.0)
        methods = self.methods(texts)
        backbone, seconds, level = "", dict[str, float](), budgets.LEVELS[-1]
        for backbone in budgets.BACKBONES:
            seconds = self._time_epochs(methods, backbone)
            level = budgets.choose_level(seconds, available, config.workers, methods.controls)
            if budgets.is_searched(level):
                break
        trials, epochs = config.trials or (level[0] if can_search else 1), config.epochs or level[1]
        expected = budgets.expected_seconds(seconds, trials, epochs, config.workers, methods.controls)
        plan = {"trials": trials, "epochs": epochs, "seconds": seconds, "expected": expected}
        return {"texts": texts, "backbone": backbone, **plan}

    def _time_encoding(self) -> float:
        """Return the seconds to encode all item texts as often as needed, from a few of them."""
        texts = sorted(filter(None, item_texts(splits.read_split(self.split).texts)), key=len)
        middle = len(texts) // 2  # texts of one length, as in the batches of the encoder
        sample = texts[middle : middle + budgets.TIMED_TEXTS]
        encoder = sentence_encoder()
        encoder.encode(sample[:1])  # loads the model
        started = time.perf_counter()
        encoder.encode(sample)
        encodings = budgets.ENCODINGS + (self.config.llm is not None)
        return (time.perf_counter() - started) / len(sample) * len(texts) * encodings

    def _time_epochs(self, methods: Methods, backbone: str) -> dict[str, float]:
        study = Study.load(methods.study(self._grid(methods, backbone, 1), None), self.study_dir)
        cells = [cell for cell in study.cells if cell.trains]
        timed = estimate_cells(study.plan, [(cell, 1, ()) for cell in cells], self.progress)
        seconds = {one.name: one.seconds_per_epoch for one in timed}
        return {cell.row: round(seconds[cell.name], 3) for cell in cells}

    def _grid(self, methods: Methods, backbone: str, epochs: int) -> dict[str, Any]:
        n_pairs = artifacts.read_manifest(self.split, splits.KIND)["notes"]["train pairs"]
        return methods.grid(self.split, slug(self.out.resolve().name) or "data", backbone, epochs, n_pairs)

    def search(self, methods: Methods, decided: TimeBudget) -> Path | None:
        """Search the settings of every method, and return the folder of the results; None without a search."""
        if decided.trials == 1:
            self.report(f"[4/{STEPS}] No search: every method has the settings as given")
            return None
        self.report(f"[4/{STEPS}] Searching settings: {decided.trials} trials of each method{_left(decided, 0)}")
        grid = self._grid(methods, decided.backbone, decided.epochs)
        search = Search.load(methods.search(grid, decided.trials), self.study_dir)
        outcomes = search.run(self.config.workers, ended=self._watch("searches"), progress=self.progress)
        _require_no_failure("search", outcomes, search.results().left_out.items())
        return self.study_dir

    def compare(self, methods: Methods, decided: TimeBudget, tuned: Path | None) -> tuple[Study, Results]:
        """Run the study."""
        self.report(f"[5/{STEPS}] Comparing the methods with {budgets.SEEDS} seeds{_left(decided, 1)}")
        grid = self._grid(methods, decided.backbone, decided.epochs)
        study = Study.load(methods.study(grid, tuned), self.study_dir)
        outcomes = study.run(self.config.workers, ended=self._watch("runs"), progress=self.progress)
        results = study.results()
        _require_no_failure("comparison", outcomes, results.failed.items())
        return study, results

    def _watch(self, group: str) -> Callable[[int, int, Outcome], None] | None:
        return None if self.ended is None else partial(self.ended, group)

    def finish(self, methods: Methods, study: Study, results: Results, decided: TimeBudget) -> Answer:
        """Train the chosen method on every pair, and write README.txt."""
        chosen = choose_line(results, methods)
        self.report(f"[6/{STEPS}] Training {chosen} on every pair{_left(decided, 2)}")
        cell = next(cell for cell in study.cells if cell.line == chosen)
        everything, model = self.out / "everything", self.out / "model"
        fit_final_model(study, cell, everything, model, self.out / "final", self.progress)
        conclusions = conclude(results, methods, chosen)
        train = splits.read_split(everything)
        user = train.vocabulary.user_ids[int(pipeline.shown_users(train.train)[0])]
        commands = [
            ["recommend", str(model), "--user", user],
            ["recommend", str(model), "--all", "--out", str(self.out / "recommendations.csv")],
            ["show", str(self.study_dir)],
            ["study", "run", str(self.study_dir / "study.yaml"), "--out", str(self.study_dir)],
            ["audit", "split", str(self.split), "--dataset", str(self.dataset)],
        ]
        page = write_page(self.study_dir, self.out / PAGE, title=self.out.resolve().name, conclusions=conclusions)
        answer = Answer(chosen, conclusions, results, commands, self.out / README, page)
        storage.replace_file(answer.readme, _readme(answer, self.remarks).encode())
        return answer


def run_quickstart(
    out: Path,
    orders: Path,
    products: Path | None,
    mapping: ColumnMapping,
    config: QuickstartConfig,
    *,
    options: dict[str, Any] | None = None,
    report: Callable[[str], None] = lambda _: None,
    progress: Progress | None = None,
    ended: Callable[[str, int, int, Outcome], None] | None = None,
) -> Answer:
    """Import, divide, decide on a budget, search, compare and train the final model, all in `out`.

    orders, products: tables of interactions and of items. options: of delimited text (delimiter, quote, encoding).
    Killed at any moment, the same call continues, and gives what an uninterrupted one gives. Raises ConfigError where
    `out` was begun with other files or settings, DataError where the data are too few.
    """
    out.mkdir(parents=True, exist_ok=True)
    quickstart = Quickstart(out, config, report, progress, ended)
    for line in mapping.lines(orders.name, None if products is None else products.name):
        quickstart.note(line)
    quickstart.read_tables(orders, products, mapping, options or {})
    decided = quickstart.decide_budget(quickstart.divide())
    methods = quickstart.methods(decided.texts)
    tuned = quickstart.search(methods, decided)
    study, results = quickstart.compare(methods, decided, tuned)
    return quickstart.finish(methods, study, results, decided)


def read_mapping(out: Path) -> ColumnMapping | None:
    """Return the meaning of the columns that an earlier call decided; None where there was none."""
    path = out / COLUMNS
    if not path.is_file():
        return None
    mapping: ColumnMapping = parse_config(ColumnMapping, storage.read_json(path), where=str(path))
    return mapping


def _has_optuna() -> bool:
    try:
        require_optuna()
    except ConfigError:
        return False
    return True


def _left(decided: TimeBudget, step: int) -> str:
    """Return how much time is left at most, before a step."""
    return f" (at most {minutes_text(sum(decided.expected[step:]))} left)" if decided.seconds else ""


def _require_no_failure(what: str, outcomes: Sequence[Outcome], failed: Iterable[tuple[str, str]]) -> None:
    reasons = {outcome.name: outcome.reason for outcome in outcomes if outcome.reason is not None} | dict(failed)
    if reasons:
        name, reason = next(iter(reasons.items()))
        raise DataError(
            f"the {what} failed for {len(reasons)} of its parts (first: {name}: {reason}); finished work is kept, run the "
            "same command again"
        )


def _readme(answer: Answer, remarks: Sequence[str]) -> str:
    """Return the text of README.txt: conclusions, decisions, files and commands."""
    commands = [f"hardneg {shlex.join(words)}" for words in answer.commands]
    sections = {
        "Conclusions": answer.conclusions,
        "How it was done": remarks,
        "Files": [f"{name}: {text}" for name, text in FILES.items()],
        "Go on with": commands,
    }
    texts = (f"{title}\n" + "".join(f"- {escape_line(line)}\n" for line in lines) for title, lines in sections.items())
    return "\n".join(texts)


def _write_json(path: Path, config: Config) -> None:
    """Write settings in one step, so that a killed call leaves none or all."""
    storage.replace_file(path, json.dumps(config.model_dump(mode="json"), indent=2).encode() + b"\n")
