"""Faults of one line against the protocol, and the quick tests that must fail with each.

`python tests/mutants.py` plants them one after the other in memory and prints those that every named test passes. The
module is compiled with the changed line, and the functions whose code differs get the new code; no file changes.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import sys
import time
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from _pytest.runner import runtestprotocol
from numba.core.caching import NullCache

SOURCES = Path(__file__).parents[1] / "src"


@dataclass(frozen=True)
class Mutant:
    """A fault. module: below hardneg. line: part of one line of it; changed: what replaces it. tests: below tests."""

    fault: str
    module: str
    line: str
    changed: str
    tests: tuple[str, ...]

    @property
    def path(self) -> Path:
        """The file of the module."""
        return SOURCES / "hardneg" / f"{self.module.replace('.', '/')}.py"


MUTANTS = (
    Mutant(
        "validation pairs are always masked in evaluation",
        "pipeline.inference",
        "masked = union(run.seen, split.valid) if mask_valid else run.seen",
        "masked = union(run.seen, split.valid)",
        ("pipeline/test_evaluation.py::test_an_evaluation_ranks_test_pairs_and_masks_what_it_says",),
    ),
    Mutant(
        "train pairs are not masked in evaluation",
        "pipeline.inference",
        "masked = union(run.seen, split.valid) if mask_valid else run.seen",
        "masked = split.valid",
        ("pipeline/test_evaluation.py::test_an_evaluation_ranks_test_pairs_and_masks_what_it_says",),
    ),
    Mutant(
        "a run is evaluated on its validation pairs",
        "pipeline.inference",
        "evaluation = evaluate_scores(score, split.test, masked, metrics=names)",
        "evaluation = evaluate_scores(score, split.valid, masked, metrics=names)",
        ("pipeline/test_evaluation.py::test_an_evaluation_ranks_test_pairs_and_masks_what_it_says",),
    ),
    Mutant(
        "the test pairs choose the epoch",
        "fitting",
        "return evaluate_scores(inner_product(embeddings), split.valid, split.train, metrics=metrics).means()",
        "return evaluate_scores(inner_product(embeddings), split.test, split.train, metrics=metrics).means()",
        ("test_fitting.py::test_validation_ranks_validation_pairs_and_masks_train_pairs",),
    ),
    Mutant(
        "validation does not mask train pairs",
        "fitting",
        "return evaluate_scores(inner_product(embeddings), split.valid, split.train, metrics=metrics).means()",
        "return evaluate_scores(inner_product(embeddings), split.valid, split.test, metrics=metrics).means()",
        ("test_fitting.py::test_validation_ranks_validation_pairs_and_masks_train_pairs",),
    ),
    Mutant(
        "test pairs are trained on",
        "fitting",
        "Positives(split.train, inputs.extra, inputs.triplets)",
        "Positives(split.test, inputs.extra, inputs.triplets)",
        ("test_fitting.py::test_positives_and_the_exclusion_of_candidates_are_the_train_pairs",),
    ),
    Mutant(
        "candidates avoid test pairs instead of train pairs",
        "fitting",
        "excluded = split.train if inputs.excluded is None else inputs.excluded",
        "excluded = split.test if inputs.excluded is None else inputs.excluded",
        ("test_fitting.py::test_positives_and_the_exclusion_of_candidates_are_the_train_pairs",),
    ),
    Mutant(
        "suspects are not excluded from the candidates",
        "fitting",
        "excluded = split.train if inputs.excluded is None else inputs.excluded",
        "excluded = split.train",
        ("test_fitting.py::test_candidates_are_drawn_outside_the_pairs_to_exclude",),
    ),
    Mutant(
        "reranked candidates leave the places of the judged list",
        "evaluation.reranking",
        "bonus[order] = own[by_own] - own[order]",
        "bonus[order] = (weight * judged)[order]",
        ("evaluation/test_reranking.py",),
    ),
    Mutant(
        "test pairs choose the weight of a judge",
        "pipeline.reranking",
        "return fusion.validation_value(score, split.valid, split.train, config.select)",
        "return fusion.validation_value(score, split.test, split.train, config.select)",
        ("pipeline/test_reranking.py",),
    ),
    Mutant(
        "an evaluation leaves out the bonuses of a reranked run",
        "evaluation.ranking",
        "return scores if self.bonus is None else self.bonus.add_to(scores, block)",
        "return scores",
        ("evaluation/test_reranking.py",),
    ),
    Mutant(
        "a penalized candidate is kept where it should be drawn again",
        "sampling.judged",
        "waiting = waiting & (units >= factors)",
        "waiting = waiting & (units < factors)",
        ("sampling/test_judged.py::test_frequencies_are_proportional_to_the_factors",),
    ),
    Mutant(
        "the strength of a penalty is not read",
        "sampling.judged",
        "values = ((1 - np.nan_to_num(probability)) ** strength).astype(np.float32)",
        "values = (1 - np.nan_to_num(probability)).astype(np.float32)",
        ("pipeline/test_suspect_use.py",),
    ),
    Mutant(
        "Holm without step-down",
        "evaluation.significance",
        "np.maximum.accumulate(np.asarray(p_values)[order] * factors)",
        "np.asarray(p_values)[order] * factors",
        ("evaluation/test_significance.py::test_holm_by_hand",),
    ),
    Mutant(
        "Holm multiplies by one less",
        "evaluation.significance",
        "factors = np.arange(len(p_values), 0, -1)",
        "factors = np.arange(len(p_values), 0, -1) - 1",
        ("evaluation/test_significance.py::test_holm_by_hand",),
    ),
    Mutant(
        "controls belong to the family of Holm",
        "report.tables",
        "family = [n for n in tested if in_family is None or in_family[n]]",
        "family = list(tested)",
        ("report",),
    ),
    Mutant(
        "the test of a difference is one-sided",
        "evaluation.significance",
        "p = float(2 * special.stdtr(freedom, -abs(observed) / error))",
        "p = float(special.stdtr(freedom, -abs(observed) / error))",
        ("evaluation/test_significance_references.py",),
    ),
    Mutant(
        "runs with few seeds are compared over users as independent samples",
        "evaluation.significance",
        "float(differences.std(ddof=1)) / np.sqrt(len(differences)),",
        "float(np.sqrt((a.var(ddof=1) + b.var(ddof=1)) / len(differences))),",
        ("evaluation/test_significance.py::test_users_are_compared_by_the_paired_t_test",),
    ),
    Mutant(
        "the seed is part of what makes a method of compared runs",
        "studies.run_comparison",
        'fit = {name: value for name, value in config["fit"].items() if name != "seed"}',
        'fit = dict(config["fit"])',
        ("studies/test_run_comparison.py::test_runs_that_differ_in_their_seed_are_one_method",),
    ),
    Mutant(
        "metrics of a group count all held-out pairs of its users",
        "evaluation.ranking",
        "own, n_relevant = hits[part.counts[ranked] > 0], part.counts[users]",
        "own, n_relevant = hits[part.counts[ranked] > 0], sum(other.counts for other in parts)[users]",
        ("evaluation/test_groups.py",),
    ),
    Mutant(
        "the ideal of nDCG is not cut at the number of held-out items",
        "evaluation.metrics",
        "ideal = np.cumsum(discounts)[np.minimum(n_relevant, k) - 1]",
        "ideal = np.cumsum(discounts)[k - 1]",
        ("evaluation/test_metrics.py",),
    ),
    Mutant(
        "means are over all users, also those without held-out pairs",
        "evaluation.ranking",
        "return {name: float(value.mean()) for name, value in self.values.items()}",
        "return {name: float(value.sum() / (self.users.max() + 1)) for name, value in self.values.items()}",
        ("test_fitting.py::test_validation_ranks_validation_pairs_and_masks_train_pairs",),
    ),
    Mutant(
        "parts of the catalogue have the items of the first part",
        "evaluation.kernels",
        "LAST_ITEM - offset - place",
        "LAST_ITEM - place",
        ("evaluation/test_ranking.py::test_a_catalogue_in_parts_has_the_best_of_the_whole",),
    ),
    Mutant(
        "repeated negatives have the gradient of one",
        "training.item_scores",
        "return (counts[index] * gather_rows(table, index).square().sum(dim=1)).sum()",
        "return gather_rows(table, index).square().sum(dim=1).sum()",
        ("training/test_item_scores.py::test_squared_norms_count_repeated_rows",),
    ),
    Mutant(
        "the steps of Adam are not counted after a restart",
        "training.adam",
        'name: value if name == "step" else',
        'name: torch.zeros_like(value) if name == "step" else',
        ("training/test_adam.py::test_steps_are_those_of_torch_to_the_bit_also_after_a_restart",),
    ),
    Mutant(
        "items that equal the last of the best are not ranked",
        "evaluation.kernels",
        "if row[place] >= bound:",
        "if row[place] > bound:",
        ("evaluation/test_ranking.py::test_the_best_equal_those_of_sorting",),
    ),
    Mutant(
        "held-out reviews are stored in a split",
        "data.split",
        'return frame.filter((pl.col(c.SPLIT) == "train") & has_review)',
        "return frame.filter(has_review)",
        ("data/test_split.py",),
    ),
    Mutant(
        "test pairs bring items into the vocabulary",
        "data.splitters",
        "vocabulary = Vocabulary.of(train)",
        "vocabulary = Vocabulary.of(frame)",
        ("data/test_splitters.py::test_test_ids_that_train_lacks_are_reported",),
    ),
    Mutant(
        "a split ignores its seed",
        "data.splitters",
        'generator(seed, "split")',
        'generator(0, "split")',
        ("data/test_splitters.py::test_the_seed_draws_the_pairs_where_sizes_need_no_rounding",),
    ),
    Mutant(
        "profiles of users read their test pairs",
        "text.profiles",
        "user_vectors = csr_array(split.train.matrix() @ text_vectors)",
        "user_vectors = csr_array((split.train.matrix() + split.test.matrix()) @ text_vectors)",
        ("text/test_profiles.py::test_held_out_pairs_change_no_profile",),
    ),
    Mutant(
        "the order of the pairs ignores the seed",
        "training.loop",
        'generator(self.config.seed, "order", epoch))',
        'generator(0, "order", epoch))',
        ("training/test_loop.py::test_every_random_number_has_the_seed_and_the_epoch",),
    ),
    Mutant(
        "the candidates ignore the seed",
        "training.loop",
        'stream = Stream(self.config.seed, "candidates", batch.epoch)',
        'stream = Stream(0, "candidates", batch.epoch)',
        ("training/test_loop.py::test_every_random_number_has_the_seed_and_the_epoch",),
    ),
    Mutant(
        "the candidates are the same in every epoch",
        "training.loop",
        'stream = Stream(self.config.seed, "candidates", batch.epoch)',
        'stream = Stream(self.config.seed, "candidates", 0)',
        ("training/test_loop.py::test_every_random_number_has_the_seed_and_the_epoch",),
    ),
    Mutant(
        "the sampler ignores the seed",
        "training.loop",
        'stream = Stream(self.config.seed, "sampler", batch.epoch)',
        'stream = Stream(0, "sampler", batch.epoch)',
        ("training/test_loop.py::test_every_random_number_has_the_seed_and_the_epoch",),
    ),
    Mutant(
        "the initialization ignores the seed",
        "models.config",
        'start = generator(seed, f"start of {purpose}")',
        'start = generator(0, f"start of {purpose}")',
        ("models/test_backbones.py",),
    ),
    Mutant(
        "the last epoch is kept instead of the best",
        "checkpoint",
        "if value > self.best_value:",
        "if value > self.best_value - 1:",
        ("training/test_loop.py::test_training_stops_after_patience_and_restores_the_best_epoch",),
    ),
    Mutant(
        "parameters of the sampler are not trained",
        "training.loop",
        "self.parameters = list(modules.parameters())",
        "self.parameters = list(self.model.parameters())",
        ("training/test_loop.py::test_every_parameter_of_the_sampler_is_trained",),
    ),
    Mutant(
        "suspects are propagated over although the graph is that of train pairs",
        "pipeline.suspect_use",
        "return UsedSuspects(union(train, pairs) if config.graph else train, excluded, extra, notes=notes)",
        "return UsedSuspects(union(train, pairs), excluded, extra, notes=notes)",
        ("pipeline/test_suspect_use.py",),
    ),
    Mutant(
        "random control vectors do not have the norms of the originals",
        "mining.labels",
        "noise *= np.linalg.norm(distinct, axis=1, keepdims=True) / np.linalg.norm(noise, axis=1, keepdims=True)",
        "noise /= np.linalg.norm(noise, axis=1, keepdims=True)",
        ("mining/test_controls.py",),
    ),
    Mutant(
        "the shuffled control is not shuffled",
        "mining.labels",
        "return MinedNegatives(mined.items[order], mined.vectors[order], ",
        "return MinedNegatives(mined.items, mined.vectors, ",
        ("mining/test_controls.py",),
    ),
    Mutant(
        "negatives by retrieval may be items that the user has",
        "mining.retrieval",
        "[PADDING, OWNED, OTHER_ID, DUPLICATE],",
        "[PADDING, FINE, OTHER_ID, DUPLICATE],",
        ("mining/test_retrieval.py::test_retrieval_equals_the_slow_loop",),
    ),
    Mutant(
        "the loss prefers negatives",
        "training.losses",
        "torch.logsumexp(negatives - positive.unsqueeze(1), dim=1)",
        "torch.logsumexp(positive.unsqueeze(1) - negatives, dim=1)",
        ("training/test_losses.py::test_one_negative_is_minus_log_sigmoid",),
    ),
    Mutant(
        "a pair without a vector is trained with a projection of nothing",
        "sampling.semantic",
        "alpha = (self.options.text_share * present).reshape(-1, 1, 1)",
        "alpha = (self.options.text_share * torch.ones_like(present)).reshape(-1, 1, 1)",
        ("sampling/test_samplers.py::test_semantic_equals_the_slow_loop",),
    ),
    Mutant(
        "the sizes of held-out parts ignore the seed",
        "data.splitters",
        'rng=generator(seed, "sizes of held-out parts")',
        'rng=generator(0, "sizes of held-out parts")',
        ("data/test_splitters.py::test_the_seed_draws_the_users_whose_size_is_rounded_up",),
    ),
    Mutant(
        "the order of pairs at one time ignores the seed",
        "data.splitters",
        'generator(config.seed, "ties of time")',
        'generator(0, "ties of time")',
        ("data/test_splitters.py::test_ties_of_time_are_broken_by_the_seed_and_counted",),
    ),
    Mutant(
        "the last pair is for validation, the one before for test",
        "data.splitters",
        "((size >= 3) & (from_the_end == n) for n in (1, 2))",
        "((size >= 3) & (from_the_end == n) for n in (2, 1))",
        ("data/test_splitters.py::test_leave_one_out_holds_out_the_last_two",),
    ),
    Mutant(
        "noise may be held-out pairs",
        "data.noise",
        "known = union(train, held_out)",
        "known = train",
        ("data/test_noise.py",),
    ),
    Mutant(
        "artifacts of another split are accepted",
        "pipeline.provenance",
        'if manifest["inputs"].get("training data") != splits.training_data_hash(split_dir):',
        "if False:",
        ("diagnostics/test_leakage.py::test_artifacts_of_another_split_are_refused",),
    ),
    Mutant(
        "artifacts that other validation pairs chose are accepted",
        "pipeline.provenance",
        'if manifest["notes"].get(VALID, expected) != expected:',
        "if False:",
        ("pipeline/test_labels.py",),
    ),
    Mutant(
        "recommendations leave held-out pairs in",
        "pipeline.recommendation",
        "items, pairs = split.texts, split.known",
        "items = split.texts",
        ("pipeline/test_owned_products.py",),
    ),
    Mutant(
        "a bundle lacks held-out pairs",
        "pipeline.exports.bundle",
        "pairs = pl.DataFrame({c.USER: split.known.users, c.ITEM: split.known.items})",
        "pairs = pl.DataFrame({c.USER: split.train.users, c.ITEM: split.train.items})",
        ("pipeline/exports/test_bundle.py",),
    ),
    Mutant(
        "the anchor of a triplet names its positive",
        "pipeline.exports.triplets",
        "left_out = (history < 0) | (history == positives[:, None])",
        "left_out = history < 0",
        ("pipeline/exports/test_triplets.py",),
    ),
    Mutant(
        "own vectors are taken in the order of their table",
        "text.item_vectors",
        "rows = {name: row for row, name in enumerate(ids.to_list())}",
        "rows = {name: row for row, name in enumerate(item_ids)}",
        ("text/test_item_vectors.py",),
    ),
    Mutant(
        "a title is a formula in a CSV file",
        "plain_text",
        """return f"'{line}" if FORMULA.match(line) else line""",
        "return line",
        ("test_plain_text.py",),
    ),
    Mutant(
        "only users with many train pairs have candidates of suspects",
        "pipeline.suspects",
        "    users = np.flatnonzero(owned.counts)",
        "    users = np.flatnonzero(owned.counts > owned.counts.mean())",
        ("pipeline/test_suspects.py",),
    ),
    Mutant(
        "ranks in the explorer do not leave train items out",
        "pipeline.explorer",
        "scores[seen.items_of(user)] = -np.inf",
        "scores[seen.items_of(user)] *= 1",
        ("pipeline/test_explorer.py::test_ranks_and_best_items_are_those_of_a_slow_loop",),
    ),
)


@contextlib.contextmanager
def planted(mutant: Mutant) -> Iterator[None]:
    """Plant a fault in the loaded module, and remove it again."""
    module = importlib.import_module(f"hardneg.{mutant.module}")
    other = types.ModuleType(module.__name__)
    other.__dict__.update(__file__=module.__file__, __package__=module.__package__)
    source = mutant.path.read_text(encoding="utf-8").replace(mutant.line, mutant.changed)
    exec(compile(source, str(module.__file__), "exec"), other.__dict__)
    undo = [_exchange(old, new) for old, new in _paired(module, other)]
    undo += [_replace_compiled(old, new) for old, new in _compiled(module, other)]
    try:
        yield
    finally:
        for back in undo:
            back()


def _paired(module: Any, other: Any) -> Iterator[tuple[types.FunctionType, types.FunctionType]]:
    """Yield functions of one name whose code differs, of a module and of its classes."""
    for name, value in vars(module).items():
        if (
            isinstance(value, type)
            and name in vars(other)
            and value.__module__ == getattr(other, "__module__", other.__name__)
        ):
            yield from _paired(value, vars(other)[name])
            continue
        old, new = _plain(value), _plain(vars(other).get(name))
        if isinstance(old, types.FunctionType) and isinstance(new, types.FunctionType) and old.__code__ != new.__code__:
            yield old, new


def _plain(value: Any) -> Any:
    """Return the function of a property, a class method or a static method, or the value itself."""
    return getattr(value, "fget", None) or getattr(value, "__func__", value)


def _exchange(old: types.FunctionType, new: types.FunctionType) -> Any:
    code = old.__code__
    old.__code__ = new.__code__
    return lambda: setattr(old, "__code__", code)


def _compiled(module: Any, other: Any) -> Iterator[tuple[Any, Any]]:
    """Yield functions that numba compiles; all of a module that has a changed one, since they call each other."""
    pairs = [
        (old, vars(other)[name])
        for name, old in vars(module).items()
        if hasattr(old, "py_func") and name in vars(other)
    ]
    if any(old.py_func.__code__ != new.py_func.__code__ for old, new in pairs):
        for _, new in pairs:
            new._cache = NullCache()  # the cache on disk holds the code of the unchanged file
        yield from pairs


def _replace_compiled(old: Any, new: Any) -> Any:
    """Replace a compiled function in every module of the package and its tests that imported it."""
    places = [
        (vars(module), name)
        for key, module in list(sys.modules.items())
        if key.startswith(("hardneg", "tests"))
        for name, value in list(vars(module).items())
        if value is old
    ]
    for values, name in places:
        values[name] = new
    return lambda: [values.update({name: old}) for values, name in places]


class Detection:
    """A pytest plugin that plants one fault after the other, each with its tests; tests are collected once."""

    def __init__(self, mutants: list[Mutant]) -> None:
        self.mutants = mutants
        self.left: list[str] = []

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Print which faults are detected, with seconds, in place of running every test once."""
        for mutant in self.mutants:
            items = [item for item in session.items if any(_named(item, test) for test in mutant.tests)]
            if not items:
                raise pytest.UsageError(f"{mutant.fault}: none of {', '.join(mutant.tests)}; name tests that exist")
            start = time.perf_counter()
            with planted(mutant), contextlib.redirect_stdout(io.StringIO()):
                detected = any(_fails(item) for item in items)
            self.left += [] if detected else [mutant.fault]
            print(
                f"{time.perf_counter() - start:6.1f} s  {'detected' if detected else 'SURVIVES'}  {mutant.fault}",
                flush=True,
            )
        return True


def _named(item: pytest.Item, test: str) -> bool:
    """Return True where `test` (FOLDER, FILE or FILE::NAME below tests) names an item, whatever its parameters."""
    return f"{item.nodeid}[".startswith(tuple(f"tests/{test}{end}" for end in ("/", "::", "[")))


def _fails(item: pytest.Item) -> bool:
    """Run one test whose fixtures are all made anew, so that they have the fault too."""
    return any(report.failed for report in runtestprotocol(item, log=False, nextitem=None))


def main(chosen: list[str]) -> None:
    """Print the faults that no named test detects; exit code 1 if there are any. chosen: parts of faults, or all."""
    faults = [mutant for mutant in MUTANTS if not chosen or any(part in mutant.fault for part in chosen)]
    tests = sorted({str(Path(__file__).parent / test.partition("::")[0]) for mutant in faults for test in mutant.tests})
    quick = ["-m", "not slow and not real", "-p", "no:cacheprovider", "--capture=no"]
    detection = Detection(faults)
    code = pytest.main([*quick, "--rootdir", str(Path(__file__).parents[1]), *tests], plugins=[detection])
    sys.exit(int(code) or bool(detection.left))


if __name__ == "__main__":
    main(sys.argv[1:])
