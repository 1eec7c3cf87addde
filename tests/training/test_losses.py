"""The contract of losses; each compared with a slow loop, forward and backward, with limit cases and known values."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from hardneg.config import parse_config
from hardneg.data import Interactions, Split
from hardneg.data.truth import Truth
from hardneg.errors import ConfigError, DataError
from hardneg.fitting import NO_INPUTS, FitInputs, fit_backbone
from hardneg.models import MFModel
from hardneg.sampling import DNS, MixGCF, NegativeSampler, PairFactors, SamplerConfig, Uniform, UniformCandidates
from hardneg.training import (
    BPR,
    LOSSES,
    BinaryCrossEntropy,
    DirectAU,
    ExtraPositives,
    FitConfig,
    Hinge,
    InfoNCE,
    LossConfig,
    SampledSoftmax,
    fit_model,
    objective,
)
from hardneg.training.losses import bpr, bpr_of_rows, uniformity
from hardneg.training.objective import l2
from hardneg.types import Batch, Embeddings, Floats, Items, Vectors


def test_bpr_equals_the_slow_loop() -> None:
    rng = np.random.default_rng(0)
    positive, negatives = rng.normal(size=5), rng.normal(size=(5, 3))
    total = 0.0
    for p, row in zip(positive, negatives, strict=True):
        total += math.log(1 + sum(math.exp(n - p) for n in row))
    result = bpr(torch.from_numpy(positive), torch.from_numpy(negatives))
    assert result.shape == ()
    assert math.isclose(result.item(), total / 5, rel_tol=1e-12)


def test_one_negative_is_minus_log_sigmoid() -> None:
    result = bpr(torch.tensor([2.0]), torch.tensor([[0.5]]))
    assert math.isclose(result.item(), -math.log(1 / (1 + math.exp(-1.5))), rel_tol=1e-6)


def test_bpr_neither_overflows_nor_is_unbounded_below() -> None:
    assert bpr(torch.tensor([-1e4]), torch.tensor([[1e4, 1e4]])).isfinite()
    assert bpr(torch.tensor([1e4]), torch.tensor([[-1e4]])).item() == 0.0


def test_the_gradient_weighs_hard_pairs_most() -> None:
    positive = torch.tensor([0.0, 0.0], requires_grad=True)
    bpr(positive, torch.tensor([[3.0], [-3.0]])).backward()
    hard, easy = positive.grad.abs().tolist()
    assert hard > 10 * easy


def test_l2_is_half_the_squared_norm_per_pair() -> None:
    users, items, negatives = torch.ones(2, 3), 2 * torch.ones(2, 3), torch.ones(2, 4, 3)
    assert math.isclose(l2(users, items, negatives).item(), (6 + 24 + 24) / 4)


@pytest.mark.parametrize("n", [1, 4])
@pytest.mark.parametrize("scale", [0.1, 1.0, 30.0])
def test_bpr_of_rows_is_bpr_of_their_scores_with_its_gradients(n: int, scale: float) -> None:
    generator = torch.Generator().manual_seed(n)
    users = (torch.randn(40, 9, generator=generator) * scale).requires_grad_()
    items = torch.randn(40, 1 + n, 9, generator=generator).requires_grad_()
    (3 * bpr_of_rows(users, items)).backward()
    exact = [table.detach().double().requires_grad_() for table in (users, items)]
    scores = (exact[1] * exact[0].unsqueeze(1)).sum(dim=2)
    loss = 3 * bpr(scores[:, 0], scores[:, 1:])
    loss.backward()
    assert bpr_of_rows(users, items).item() * 3 == pytest.approx(loss.item(), rel=1e-5)
    for result, expected in zip((users, items), exact, strict=True):
        torch.testing.assert_close(result.grad.double(), expected.grad, atol=1e-6 * scale, rtol=1e-4)


def test_bpr_of_rows_neither_overflows_nor_hides_nan() -> None:
    far = torch.tensor([[[-1e4], [1e4], [1e4]]])
    assert bpr_of_rows(torch.ones(1, 1), far).item() == pytest.approx(2e4 + math.log(2))
    assert bpr_of_rows(torch.ones(1, 1), -far).item() == 0.0
    assert bpr_of_rows(torch.full((1, 1), float("nan")), far).isnan()
    assert bpr_of_rows(torch.ones(1, 1), torch.tensor([[[0.0], [float("nan")]]])).isnan()


def test_bpr_of_rows_keeps_small_losses_and_other_numbers() -> None:
    easy = torch.tensor([[[20.0], [0.0]]])
    assert bpr_of_rows(torch.ones(1, 1), easy).item() == pytest.approx(2.0611536e-09, rel=1e-5)
    assert bpr_of_rows(torch.ones(1, 1).double(), easy.double()).dtype == torch.float64
    with pytest.raises(DataError, match=r"1 users.* 3 "):
        bpr_of_rows(torch.ones(1, 4), torch.ones(3, 3, 4))


def test_the_gradient_of_l2_is_the_rows_over_the_batch() -> None:
    users, items = (torch.randn(*shape, requires_grad=True) for shape in ((5, 3), (5, 2, 3)))
    (2 * l2(users, items)).backward()
    torch.testing.assert_close(users.grad, 2 * users.detach() / 5)
    torch.testing.assert_close(items.grad, 2 * items.detach() / 5)


BATCH, N, SIZE = 4, 3, 5


def dot(a: Floats, b: Floats) -> float:
    return float(sum(x * y for x, y in zip(a, b, strict=True)))


def unit(a: Floats) -> Floats:
    return a / math.sqrt(dot(a, a))


class LossContract:
    """Contract of every loss; a subclass gives the loss, and the loss of the arrays by plain loops."""

    loss: LossConfig

    def slow(self, users: Floats, items: Floats, weights: Floats, log_q: Floats) -> float:
        raise NotImplementedError

    def arrays(self) -> tuple[Floats, Floats, Floats, Floats]:
        """Users, items with the positive first, weights of negatives, log probabilities."""
        rng = np.random.default_rng(7)
        shapes = (BATCH, SIZE), (BATCH, 1 + N, SIZE)
        weights = rng.random((BATCH, N))
        weights[0] = 0, 1, 0.5
        return *(rng.normal(size=shape) for shape in shapes), weights, -rng.random((BATCH, N)) * 3

    def value(self, users: Floats, items: Floats, weights: Floats | None, log_q: Floats) -> Any:
        tensors = [None if a is None else torch.from_numpy(a) for a in (users, items, weights, log_q)]
        return self.loss.of_rows(*tensors)

    @pytest.mark.parametrize("weighted", [False, True])
    def test_it_equals_the_slow_loop(self, weighted: bool) -> None:
        if weighted and not self.loss.takes_weights:
            return
        users, items, weights, log_q = self.arrays()
        given = weights if weighted else None
        expected = self.slow(users, items, weights if weighted else np.ones_like(weights), log_q)
        result = self.value(users, items, given, log_q)
        assert result.shape == ()
        assert result.item() == pytest.approx(expected, rel=1e-10)

    def test_its_gradients_are_the_differences_of_the_slow_loop(self) -> None:
        users, items, weights, log_q = self.arrays()
        ones, step = np.ones_like(weights), 1e-6
        leaves = [torch.from_numpy(a.copy()).requires_grad_() for a in (users, items)]
        self.loss.of_rows(*leaves, None, torch.from_numpy(log_q)).backward()
        for number, (array, leaf) in enumerate(zip((users, items), leaves, strict=True)):
            for place in np.ndindex(array.shape):
                ends = []
                for sign in (1, -1):
                    moved = [users.copy(), items.copy()]
                    moved[number][place] += sign * step
                    ends.append(self.slow(*moved, ones, log_q))
                assert leaf.grad[place].item() == pytest.approx((ends[0] - ends[1]) / 2 / step, abs=1e-7)

    def test_weights_of_1_are_no_weights_and_of_0_no_negatives(self) -> None:
        if not self.loss.takes_weights:
            with pytest.raises(ConfigError, match=r"found weights of negatives"):
                self.loss.require_inputs(torch.ones(BATCH, N), None)
            return
        users, items, weights, log_q = self.arrays()
        plain, ones = (self.value(users, items, given, log_q) for given in (None, np.ones_like(weights)))
        assert plain.item() == pytest.approx(ones.item(), rel=1e-12)
        negatives = torch.from_numpy(items).requires_grad_()
        none = torch.zeros(BATCH, N, dtype=torch.float64)
        self.loss.of_rows(torch.from_numpy(users), negatives, none, torch.from_numpy(log_q)).backward()
        assert (negatives.grad[:, 1:] == 0).all()

    @pytest.mark.parametrize("scale", [1e-6, 1e4])
    def test_it_neither_overflows_nor_loses_its_gradient(self, scale: float) -> None:
        users, items, _, log_q = (torch.from_numpy(a).float() for a in self.arrays())
        for sign in (1, -1):
            leaf = (sign * scale * items).requires_grad_()
            loss = self.loss.of_rows(users, leaf, None, log_q)
            loss.backward()
            assert loss.isfinite()
            assert leaf.grad.isfinite().all()

    @pytest.mark.parametrize("sampler", [Uniform(), MixGCF(candidates=3)], ids=["items", "vectors"])
    def test_it_trains_on_items_and_vectors(self, sampler: NegativeSampler, seen: Interactions) -> None:
        if not self.loss.reads_negatives and sampler.kind != "uniform":
            return
        config = FitConfig(epochs=5, batch_size=16, learning_rate=0.05, check_every=5, loss=self.loss)
        config = FitConfig.model_validate(config.model_dump())
        assert config.loss == self.loss
        if self.loss.corrects_bias and sampler.kind != "uniform":
            with pytest.raises(ConfigError, match="correct_bias"):
                fit_model(MFModel(seen), seen, sampler, UniformCandidates(seen), config, validate=None)
            return
        fits = [
            fit_model(MFModel(seen, embedding_size=8), seen, sampler, UniformCandidates(seen), config, validate=None)
            for _ in range(2)
        ]
        losses = [row["value"] for row in fits[0].state.curves]
        assert losses[-1] < losses[0]
        assert torch.equal(*(fit.embeddings.final_users for fit in fits))


class TestBPR(LossContract):
    loss = BPR()

    def slow(self, users: Floats, items: Floats, weights: Floats, log_q: Floats) -> float:
        total = 0.0
        for user, (positive, *negatives), row in zip(users, items, weights, strict=True):
            most = max(row)
            terms = (w / most * math.exp(dot(user, j - positive)) for j, w in zip(negatives, row, strict=True))
            total += most * math.log(1 + sum(terms))
        return total / len(users)


class TestBPRMean(LossContract):
    loss = BPR(several="mean")

    def slow(self, users: Floats, items: Floats, weights: Floats, log_q: Floats) -> float:
        losses = [
            w * -math.log(1 / (1 + math.exp(dot(user, j - positive))))
            for user, (positive, *negatives), row in zip(users, items, weights, strict=True)
            for j, w in zip(negatives, row, strict=True)
        ]
        return sum(losses) / len(losses)


class TestSoftmax(LossContract):
    loss = SampledSoftmax(temperature=0.7)
    corrected = False

    def slow(self, users: Floats, items: Floats, weights: Floats, log_q: Floats) -> float:
        total = 0.0
        for user, (positive, *negatives), row, logs in zip(users, items, weights, log_q, strict=True):
            most, near = max(row), math.exp(dot(user, positive) / 0.7)
            far = 0.0
            for j, w, log in zip(negatives, row, logs, strict=True):
                share = N * math.exp(log) if self.corrected else 1.0
                far += w / most * math.exp(dot(user, j) / 0.7) / share
            total -= most * math.log(near / (near + far))
        return total / len(users)


class TestSoftmaxCorrected(TestSoftmax):
    loss = SampledSoftmax(temperature=0.7, correct_bias=True)
    corrected = True


class TestBCE(LossContract):
    loss = BinaryCrossEntropy()

    def slow(self, users: Floats, items: Floats, weights: Floats, log_q: Floats) -> float:
        total = 0.0
        for user, rows, row in zip(users, items, weights, strict=True):
            p = [1 / (1 + math.exp(-dot(user, item))) for item in rows]
            total -= math.log(p[0]) + sum(w * math.log(1 - q) for q, w in zip(p[1:], row, strict=True))
        return total / len(users) / (1 + N)


class TestHinge(LossContract):
    loss = Hinge(margin=0.5)

    def slow(self, users: Floats, items: Floats, weights: Floats, log_q: Floats) -> float:
        total = 0.0
        for user, (positive, *negatives), row in zip(users, items, weights, strict=True):
            for j, w in zip(negatives, row, strict=True):
                total += w * max(0.0, 0.5 + dot(user, j - positive))
        return total / len(users) / N


class TestInfoNCE(LossContract):
    loss = InfoNCE(temperature=0.5)

    def slow(self, users: Floats, items: Floats, weights: Floats, log_q: Floats) -> float:
        total = 0.0
        for user, rows, row in zip(users, items, weights, strict=True):
            near, *far = (math.exp(dot(unit(user), unit(item)) / 0.5) for item in rows)
            most = max(row)
            total -= most * math.log(near / (near + sum(w / most * f for f, w in zip(far, row, strict=True))))
        return total / len(users)


class TestDirectAU(LossContract):
    loss = DirectAU(gamma=0.6)

    def slow(self, users: Floats, items: Floats, weights: Floats, log_q: Floats) -> float:
        us, ps = [unit(user) for user in users], [unit(rows[0]) for rows in items]
        total = sum(dot(u - p, u - p) for u, p in zip(us, ps, strict=True)) / len(us)
        for side in (us, ps):
            pairs = [(a, b) for n, a in enumerate(side) for b in side[n + 1 :]]
            total += 0.3 * math.log(sum(math.exp(-2 * dot(a - b, a - b)) for a, b in pairs) / len(pairs))
        return total


def test_every_named_loss_has_a_contract_test() -> None:
    tested = {test.loss.kind for test in LossContract.__subclasses__()}
    assert set(LOSSES.names) == tested
    assert all(LossConfig.find_class(name).model_fields["kind"].default == name for name in LOSSES.names)


def some_rows(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(n)
    return torch.randn(6, 4, generator=generator), torch.randn(6, 1 + n, 4, generator=generator)


def test_softmax_at_temperature_1_without_correction_is_the_k_negative_softplus() -> None:
    rows = some_rows(3)
    assert SampledSoftmax().of_rows(*rows, None, None).item() == pytest.approx(BPR().of_rows(*rows, None, None).item())


def test_with_one_negative_joint_and_mean_bpr_are_the_same_bits() -> None:
    rows = some_rows(1)
    assert torch.equal(BPR().of_rows(*rows, None, None), BPR(several="mean").of_rows(*rows, None, None))


def test_the_corrected_softmax_of_every_free_item_is_the_full_softmax() -> None:
    """All m free items once: q = 1 / m and n = m, so that the correction is 0; drawn twice the loss stays the same."""
    users, items = some_rows(5)
    full = SampledSoftmax().of_rows(users, items, None, None)
    loss, log_q = SampledSoftmax(correct_bias=True), torch.full((6, 5), -math.log(5))
    assert loss.of_rows(users, items, None, log_q).item() == pytest.approx(full.item(), rel=1e-6)
    twice = torch.cat([items, items[:, 1:]], dim=1)
    assert loss.of_rows(users, twice, None, log_q.repeat(1, 2)).item() == pytest.approx(full.item(), rel=1e-6)


def test_the_corrected_sum_of_skewed_draws_is_unbiased() -> None:
    """Draws by q, divided by n q: the mean of the sum is that over all items."""
    rng, scores = np.random.default_rng(0), np.array([0.5, -1.0, 2.0, 0.0])
    q = np.array([0.4, 0.3, 0.1, 0.2])
    draws = rng.choice(4, p=q, size=(200_000, 1))
    sums = (np.exp(scores[draws]) / q[draws]).sum(axis=1)
    assert sums.mean() == pytest.approx(np.exp(scores).sum(), rel=0.01)
    one = torch.zeros(len(draws), 1, dtype=torch.float64), torch.tensor(np.log(q[draws]))
    losses = -torch.log(1 / (1 + torch.exp(torch.tensor(scores[draws]) - one[1])))
    result = SampledSoftmax(correct_bias=True).of_scores(one[0][:, 0], torch.tensor(scores[draws]), None, one[1])
    assert result.item() == pytest.approx(losses.mean().item())


def test_info_nce_does_not_see_lengths() -> None:
    users, items = some_rows(1)
    scales = torch.tensor([3.0, 0.2]).reshape(1, 2, 1)
    one, two = (InfoNCE().of_rows(users, rows, None, None) for rows in (items, scales * items))
    assert one.item() == pytest.approx(two.item(), rel=1e-6)


def test_direct_au_of_one_pair_is_its_alignment_and_of_equal_rows_0() -> None:
    users, items = some_rows(0)
    alone = DirectAU().of_rows(users[:1], items[:1], None, None)
    expected = (users[0] / users[0].norm() - items[0, 0] / items[0, 0].norm()).square().sum()
    assert alone.item() == pytest.approx(expected.item(), rel=1e-6)
    assert uniformity(torch.tensor([[1.0, 0.0]]).repeat(4, 1)).item() == pytest.approx(0.0, abs=1e-6)
    assert uniformity(torch.tensor([[1.0, 0.0], [-1.0, 0.0]])).item() == pytest.approx(-8.0)


def test_direct_au_draws_nothing_and_regularises_no_negative(seen: Interactions) -> None:
    calls = []

    class Refusing:
        def draw(self, rows: Any, users: Any, *, n: int, stream: Any) -> Any:
            calls.append(n)
            return np.empty((len(rows), n), np.int64)

    config = FitConfig(epochs=1, batch_size=1000, check_every=1, loss=DirectAU(), l2=0.1)
    fitted = fit_model(MFModel(seen, embedding_size=8), seen, Uniform(), Refusing(), config, validate=None)
    assert calls == [0]
    model = MFModel(seen, embedding_size=8)
    users, items = (table.detach()[rows] for table, rows in ((model.users, seen.users), (model.items, seen.items)))
    total = DirectAU().of_rows(users, items.unsqueeze(1), None, None) + 0.1 * l2(users, items)
    assert fitted.state.curves[0]["value"] == pytest.approx(total.item(), rel=1e-5)


def test_unusable_combinations_are_refused(store: tuple[Split, Truth]) -> None:
    split = store[0]

    def fit(loss: LossConfig, sampler: SamplerConfig, inputs: FitInputs = NO_INPUTS) -> None:
        model = MFModel(split.train, embedding_size=4)
        fit_backbone(model, split, sampler=sampler, config=FitConfig(epochs=1, loss=loss), inputs=inputs)

    factors = PairFactors.of(split.train, split.valid.users, split.valid.items, np.full(len(split.valid), 0.5), 1.0)
    with pytest.raises(ConfigError, match="'direct-au' reads no negatives, found sampler 'dns'"):
        fit(DirectAU(), DNS())
    with pytest.raises(ConfigError, match=r"'direct-au' .*weights of negatives"):
        fit(DirectAU(), Uniform(), FitInputs(weights=factors))
    with pytest.raises(ConfigError, match=r"'direct-au' .*weight 0\.5"):
        fit(DirectAU(), Uniform(), FitInputs(extra=ExtraPositives(split.valid, 0.5)))
    with pytest.raises(ConfigError, match=r"'softmax' with correct_bias .*sampler"):
        fit(SampledSoftmax(correct_bias=True), DNS())
    with pytest.raises(ConfigError, match=r"'softmax' with correct_bias"):
        fit(SampledSoftmax(correct_bias=True), Uniform(), FitInputs(penalty=factors))


def test_a_weighed_uniform_sampler_keeps_its_probabilities(store: tuple[Split, Truth]) -> None:
    split = store[0]
    factors = PairFactors.of(split.train, split.valid.users, split.valid.items, np.full(len(split.valid), 0.5), 1.0)
    config = FitConfig(epochs=1, loss=SampledSoftmax(correct_bias=True))
    model = MFModel(split.train, embedding_size=4)
    fitted = fit_backbone(model, split, config=config, inputs=FitInputs(weights=factors))
    assert math.isfinite(fitted.state.curves[0]["value"])


def test_uniform_draws_have_the_probability_of_their_free_items(seen: Interactions) -> None:
    users = np.array([0, 4, 5])
    logs = UniformCandidates(seen).log_probabilities(users, np.zeros((3, 2), np.int64))
    expected = [[-math.log(12 - len(seen.items_of(user)))] * 2 for user in users]
    np.testing.assert_allclose(logs, expected, rtol=1e-6)


def test_the_objective_reads_weights_probabilities_and_vectors() -> None:
    """The loss of every pair alone, for items and for the vectors of the same rows."""
    torch.manual_seed(0)
    tables = Embeddings((torch.randn(5, 4),), (torch.randn(9, 4),), "mean")
    batch = Batch(torch.arange(3), torch.tensor([0, 3, 4]), torch.tensor([1, 2, 8]), 1, 0)
    chosen, log_q = torch.tensor([[0, 3], [5, 6], [7, 7]]), -torch.rand(3, 2)
    loss = SampledSoftmax(temperature=0.5, correct_bias=True)
    items = torch.cat([batch.positives.unsqueeze(1), chosen], dim=1)
    rows = tables.final_users[batch.users], tables.final_items[items]
    result = objective(batch, tables, Items(chosen, log_q=log_q), 0.0, ranking=loss)
    torch.testing.assert_close(result, loss.of_rows(*rows, None, log_q))
    vectors = tables.final_items[chosen]
    synthesized = Vectors(vectors, vectors, chosen.unsqueeze(2), ("item",))
    plain = SampledSoftmax(temperature=0.5)
    assert torch.equal(objective(batch, tables, synthesized, 0.0, ranking=plain), plain.of_rows(*rows, None, None))
    with pytest.raises(ConfigError, match="correct_bias"):
        objective(batch, tables, synthesized, 0.0, ranking=loss)
    with pytest.raises(ConfigError, match="found weights"):
        objective(batch, tables, replace(synthesized, weights=torch.ones(3, 2)), 0.0, ranking=DirectAU())


def test_a_loss_is_named_in_settings_and_the_default_is_not_written() -> None:
    """Runs of versions without the field keep their keys."""
    assert "loss" not in FitConfig().model_dump()
    assert parse_config(FitConfig, {"loss": {"kind": "hinge"}}, where="fit").loss == Hinge()
    assert parse_config(FitConfig, {"loss": {"several": "mean"}}, where="fit").loss == BPR(several="mean")
    written = FitConfig(loss=SampledSoftmax(temperature=0.3)).model_dump(mode="json")
    assert written["loss"] == {"kind": "softmax", "temperature": 0.3, "correct_bias": False}
    with pytest.raises(ConfigError, match="did you mean 'softmax'"):
        parse_config(FitConfig, {"loss": {"kind": "sotfmax"}}, where="fit")
