"""The contract of samplers, and each formula against a slow loop."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.random import Generator
from torch import Tensor, nn

from hardneg.config import parse_config
from hardneg.data import Interactions
from hardneg.errors import ConfigError, DataError
from hardneg.mining.retrieval import draw_at_random
from hardneg.models import LightGCNModel
from hardneg.models.propagation import to_dense
from hardneg.random import Stream
from hardneg.sampling import (
    AHNS,
    ANS,
    DENS,
    DNS,
    GDNS,
    SAMPLERS,
    SRNS,
    AdaptiveSoftmax,
    InBatchSampling,
    ItemNeighbours,
    MinedNegatives,
    MixGCF,
    MultiView,
    NegativeSampler,
    PairFactors,
    PopularitySampling,
    SamplerConfig,
    SamplerInputs,
    Semantic,
    SemanticLiteral,
    SemanticMixing,
    TrainingPairs,
    Uniform,
    UniformCandidates,
    WeighedSampler,
)
from hardneg.sampling.mixgcf import mix
from hardneg.sampling.sampler import hardest, items_read
from hardneg.sampling.semantic import SemanticSampler, alignment
from hardneg.sampling.semantic_mixing import PARTNER
from hardneg.training import FitConfig, fit_model, objective
from hardneg.trees import Trees
from hardneg.types import Batch, Embeddings, Items, Negatives, RequiredRows, Vectors, gather_rows

TEXT_SIZE = 5
STREAM = Stream(2, "sampler", 1)
NOTHING = SamplerInputs(8, None, 0)


@pytest.fixture
def mined(seen: Interactions) -> MinedNegatives:
    """Vectors for all pairs but every fourth."""
    vectors = np.random.default_rng(5).normal(size=(len(seen), TEXT_SIZE)).astype(np.float16)
    vectors[::4] = np.nan
    items = np.array([[np.setdiff1d(np.arange(12), seen.items_of(user))[0]] for user in seen.users])
    items[::4] = -1
    return MinedNegatives(items, vectors, "made up")


def drawn(seen: Interactions, batch: Batch, n: int, seed: int = 0) -> Tensor:
    items = UniformCandidates(seen).draw(batch.rows.numpy(), batch.users.numpy(), n=n, stream=Stream(seed, "drawn", 1))
    return torch.from_numpy(items)


class SamplerContract:
    """Contract of every sampler; a subclass defines how to build one."""

    n = 1

    def make(self, mined: MinedNegatives) -> NegativeSampler:
        raise NotImplementedError

    def sampled(self, mined: MinedNegatives, seen: Interactions, batch: Batch, embeddings: Embeddings) -> Negatives:
        sampler = self.make(mined)
        return sampler.sample(batch, embeddings, drawn(seen, batch, sampler.n_candidates), STREAM)

    def test_shapes(self, mined: MinedNegatives, seen: Interactions, batch: Batch, embeddings: Embeddings) -> None:
        negatives = self.sampled(mined, seen, batch, embeddings)
        size = len(batch.rows)
        if isinstance(negatives, Items):
            assert negatives.items.shape == (size, self.n)
            assert negatives.items.dtype == torch.int64
        else:
            assert negatives.vectors.shape == (size, self.n, 8)
            assert negatives.ego.shape == (size, self.n, 8)
            assert negatives.sources.shape == (size, self.n, len(negatives.parts))

    def test_no_observed_item_is_sampled(
        self, mined: MinedNegatives, seen: Interactions, batch: Batch, embeddings: Embeddings
    ) -> None:
        negatives = self.sampled(mined, seen, batch, embeddings)
        items = negatives.items if isinstance(negatives, Items) else negatives.sources.flatten(1)
        users = np.broadcast_to(batch.users.numpy()[:, None], items.shape)
        known = items.numpy() >= 0
        assert known.any()
        assert not seen.contains(users[known], items.numpy()[known]).any()

    def test_same_numbers_same_negatives(
        self, mined: MinedNegatives, seen: Interactions, batch: Batch, embeddings: Embeddings
    ) -> None:
        one, two = (self.sampled(mined, seen, batch, embeddings) for _ in range(2))
        if isinstance(one, Items):
            assert torch.equal(one.items, two.items)
        else:
            assert torch.equal(one.vectors, two.vectors)

    def test_the_loss_reaches_users_positives_negatives_and_own_parameters(
        self, mined: MinedNegatives, seen: Interactions, batch: Batch
    ) -> None:
        model, sampler = LightGCNModel(seen, embedding_size=8, hops=2, seed=1), self.make(mined)
        own = list(sampler.parameters()) if isinstance(sampler, nn.Module) else []
        before = [p.detach().clone() for p in [*model.parameters(), *own]]
        adam = torch.optim.Adam([*model.parameters(), *own], lr=0.1)
        embeddings = model()
        negatives = sampler.sample(batch, embeddings, drawn(seen, batch, sampler.n_candidates), STREAM)
        objective(batch, embeddings, negatives, 0.0).backward()
        adam.step()
        moved = [not torch.equal(b, p) for b, p in zip(before, [*model.parameters(), *own], strict=True)]
        assert all(moved)

    def test_it_reads_only_the_declared_tables(self, mined: MinedNegatives, seen: Interactions, batch: Batch) -> None:
        """A step's tables lack rows that are not required: the negatives are the same, and none is NaN."""
        model, sampler = LightGCNModel(seen, embedding_size=8, hops=2, seed=1), self.make(mined)
        candidates = drawn(seen, batch, sampler.n_candidates)
        items = np.unique(items_read(sampler, batch, candidates, STREAM).numpy())
        target = RequiredRows(np.unique(batch.users.numpy()), items, sampler.hops_read)
        tables = [model(what) for what in (None, target)]
        one, two = (self.make(mined).sample(batch, table, candidates, STREAM) for table in tables)
        if isinstance(one, Items):
            assert torch.equal(one.items, two.items)
        else:
            assert torch.equal(one.vectors, two.vectors)
            assert torch.equal(one.ego, two.ego)
            assert two.vectors.isfinite().all()
            if one.positives is not None:
                assert torch.equal(one.positives, two.positives)

    def test_sampling_does_not_change_the_embeddings(
        self, mined: MinedNegatives, seen: Interactions, batch: Batch, embeddings: Embeddings
    ) -> None:
        before = [table.detach().clone() for table in (*embeddings.users, *embeddings.items)]
        self.sampled(mined, seen, batch, embeddings)
        after = (*embeddings.users, *embeddings.items)
        assert all(torch.equal(b, a) for b, a in zip(before, after, strict=True))

    @pytest.mark.parametrize("probability", [0.0, 1.0])
    def test_weights_by_a_judge(
        self, mined: MinedNegatives, seen: Interactions, batch: Batch, probability: float
    ) -> None:
        """With p = 0 losses and gradients are the same to the bit; with p = 1 no gradient of the ranking loss is left."""
        users, items = np.nonzero(seen.matrix().toarray() == 0)
        factors = PairFactors.of(seen, users, items, np.full(len(users), probability), 1.0)
        results = []
        for weigh in (False, True):
            model, sampler = LightGCNModel(seen, embedding_size=8, hops=2, seed=1), self.make(mined)
            weighed = WeighedSampler(sampler, factors) if weigh else sampler
            embeddings = model()
            negatives = weighed.sample(batch, embeddings, drawn(seen, batch, weighed.n_candidates), STREAM)
            loss = objective(batch, embeddings, replace(negatives, auxiliary=None), 0.0)
            loss.backward()
            results.append([loss, *(to_dense(p.grad) for p in model.parameters())])
        if probability == 0:
            assert all(torch.equal(one, two) for one, two in zip(*results, strict=True))
        else:
            assert all((tensor == 0).all() for tensor in results[1])


class TestUniform(SamplerContract):
    def make(self, mined: MinedNegatives) -> NegativeSampler:
        return Uniform().build(SamplerInputs(8, None, 0))


class TestUniformSeveral(SamplerContract):
    n = 3

    def make(self, mined: MinedNegatives) -> NegativeSampler:
        return Uniform(negatives=3).build(NOTHING)


class TestPopularity(SamplerContract):
    n = 2

    def make(self, mined: MinedNegatives) -> NegativeSampler:
        return PopularitySampling(negatives=2).build(NOTHING)


class TestInBatch(SamplerContract):
    n = 2

    def make(self, mined: MinedNegatives) -> NegativeSampler:
        return InBatchSampling(negatives=2).build(NOTHING)


class TestDNSSeveral(SamplerContract):
    n = 2

    def make(self, mined: MinedNegatives) -> NegativeSampler:
        return DNS(candidates=5, top=3, negatives=2).build(NOTHING)


class TestDNS(SamplerContract):
    def make(self, mined: MinedNegatives) -> NegativeSampler:
        return DNS(candidates=4).build(SamplerInputs(8, None, 0))


class TestDNSOfTheTop(SamplerContract):
    def make(self, mined: MinedNegatives) -> NegativeSampler:
        return DNS(candidates=5, top=3).build(SamplerInputs(8, None, 0))


class TestAHNS(SamplerContract):
    def make(self, mined: MinedNegatives) -> NegativeSampler:
        return AHNS(candidates=4).build(SamplerInputs(8, None, 0))


class TestAdaptiveSoftmax(SamplerContract):
    def make(self, mined: MinedNegatives) -> NegativeSampler:
        return AdaptiveSoftmax(candidates=4, temperature=0.1).build(NOTHING)


class TestAdaptiveSoftmaxByRank(SamplerContract):
    def make(self, mined: MinedNegatives) -> NegativeSampler:
        return AdaptiveSoftmax(candidates=4, by="rank").build(NOTHING)


class TestDENS(SamplerContract):
    def make(self, mined: MinedNegatives) -> NegativeSampler:
        return DENS(candidates=4).build(NOTHING)


class TestANS(SamplerContract):
    def make(self, mined: MinedNegatives) -> NegativeSampler:
        return ANS(candidates=4).build(NOTHING)


class FollowingContract(SamplerContract):
    """A sampler that follows items of every user over epochs."""

    options: SRNS | GDNS

    @pytest.fixture(autouse=True)
    def _take(self, seen: Interactions) -> None:
        self.pairs = TrainingPairs(seen, seen.users, seen.items, UniformCandidates(seen))

    def make(self, mined: MinedNegatives) -> NegativeSampler:
        return self.options.build(SamplerInputs(8, None, 0, pairs=self.pairs))


class TestSRNS(FollowingContract):
    options = SRNS(memory=3, extension=2, pool=4)


class TestGDNS(FollowingContract):
    options = GDNS(pool=5, candidates=3)


class SeenContract(SamplerContract):
    """With both trees."""

    options: DNS | AHNS | MultiView

    @pytest.fixture(autouse=True)
    def _take(self, trees: Trees) -> None:
        self.trees = trees

    def make(self, mined: MinedNegatives) -> NegativeSampler:
        return self.options.build(SamplerInputs(8, None, 0, trees=self.trees))


class TestMultiView(SeenContract):
    options = MultiView(candidates=4)


class TestDNSInViews(SeenContract):
    options = DNS(candidates=5, top=2, alpha_c=0.2, alpha_s=0.4)


class TestDNSSeveralInViews(SeenContract):
    n = 3
    options = DNS(candidates=5, top=3, negatives=3, alpha_c=0.2)


class TestAHNSInViews(SeenContract):
    options = AHNS(candidates=4, alpha_c=0.5)


class TestMixGCF(SamplerContract):
    def make(self, mined: MinedNegatives) -> NegativeSampler:
        return MixGCF(candidates=4).build(SamplerInputs(8, None, 0))


class TestSemantic(SamplerContract):
    def make(self, mined: MinedNegatives) -> NegativeSampler:
        return Semantic(alpha=0.3, hidden_size=16, projector_l2=0).build(SamplerInputs(8, mined, 0))


class TestSemanticLiteral(SamplerContract):
    def make(self, mined: MinedNegatives) -> NegativeSampler:
        return SemanticLiteral(alpha=0.3, hidden_size=16, projector_l2=0).build(SamplerInputs(8, mined, 0))


class SemanticMixingContract(SamplerContract):
    """The items of the inner sampler are unobserved; neighbours may be items of the user."""

    inner: NegativeSampler

    def make(self, mined: MinedNegatives) -> NegativeSampler:
        return SemanticMixing(sampler=self.inner, alpha=0.3, neighbours=3).build(
            SamplerInputs(8, None, 0, some_neighbours())
        )

    def test_no_observed_item_is_sampled(
        self, mined: MinedNegatives, seen: Interactions, batch: Batch, embeddings: Embeddings
    ) -> None:
        result = self.sampled(mined, seen, batch, embeddings)
        assert isinstance(result, Vectors)
        assert result.parts[-1] == PARTNER
        served = result.sources[:, :, :-1].flatten(1).numpy()
        assert not seen.contains(np.broadcast_to(batch.users.numpy()[:, None], served.shape), served).any()


class TestSemanticMixing(SemanticMixingContract):
    inner = Uniform()


class TestSemanticMixingDNS(SemanticMixingContract):
    inner = DNS(candidates=4)


class TestSemanticMixingSeveral(SemanticMixingContract):
    n = 3
    inner = Uniform(negatives=3)


class TestSemanticMixingMixGCF(SemanticMixingContract):
    inner = MixGCF(candidates=4)


def some_neighbours() -> ItemNeighbours:
    """Four neighbours of each of twelve items; item 2 has none, item 5 a single one."""
    items = draw_at_random(12, 4, np.random.default_rng(8)).items
    items[2], items[5, 1:] = -1, -1
    return ItemNeighbours(items, "made up")


def test_every_named_sampler_has_a_contract_test() -> None:
    contracts = (SamplerContract, FollowingContract, SeenContract, SemanticMixingContract)
    tested = {test.__name__.removeprefix("Test").lower() for one in contracts for test in one.__subclasses__()}
    assert {name.replace("-", "") for name in SAMPLERS.names} <= tested
    assert all(SamplerConfig.find_class(name).model_fields["kind"].default == name for name in SAMPLERS.names)


def test_dns_with_one_candidate_is_uniform(
    seen: Interactions, batch: Batch, embeddings: Embeddings, rng: Generator
) -> None:
    candidates = drawn(seen, batch, 1)
    assert torch.equal(
        DNS(candidates=1).build(NOTHING).sample(batch, embeddings, candidates, STREAM).items,
        Uniform().sample(batch, embeddings, candidates, STREAM).items,
    )


def test_dns_equals_the_slow_loop(seen: Interactions, batch: Batch, embeddings: Embeddings) -> None:
    candidates = drawn(seen, batch, 6)
    result = DNS(candidates=6).build(NOTHING).sample(batch, embeddings, candidates, STREAM).items
    users, items = embeddings.final_users.detach().numpy(), embeddings.final_items.detach().numpy()
    for row, user in enumerate(batch.users.tolist()):
        best = max(candidates[row].tolist(), key=lambda item: float(users[user] @ items[item]))
        assert result[row].item() == best


@pytest.mark.parametrize("pooling", ["mean", "concat"])
def test_mixgcf_equals_the_slow_loop(seen: Interactions, batch: Batch, pooling: str) -> None:
    """Mix all candidates first and compare them afterwards, as in the paper."""
    embeddings = LightGCNModel(seen, embedding_size=8, hops=2, pooling=pooling, seed=1)()
    candidates = drawn(seen, batch, 5)
    result = MixGCF(candidates=5).sample(batch, embeddings, candidates, STREAM)
    embeddings = Embeddings(
        *(tuple(t.detach() for t in side) for side in (embeddings.users, embeddings.items)), pooling
    )
    mixing = STREAM.uniform(batch.rows.numpy(), 3)
    for row, (user, positive) in enumerate(zip(batch.users, batch.positives, strict=True)):
        parts = []
        for hop, items in enumerate(embeddings.items):
            a = float(mixing[row, hop])
            query = embeddings.users[hop][user] if pooling == "concat" else embeddings.final_users[user]
            mixed = [a * items[positive] + (1 - a) * items[item] for item in candidates[row]]
            best = max(range(5), key=lambda m: float(query @ mixed[m]))
            assert result.sources[row, 0, hop] == candidates[row, best]
            parts.append(mixed[best])
        expected = torch.cat(parts) if pooling == "concat" else torch.stack(parts).mean(dim=0)
        torch.testing.assert_close(result.vectors[row, 0].detach(), expected)
        torch.testing.assert_close(result.ego[row, 0].detach(), parts[0])


def test_mixgcf_without_hops_is_dns_mixed_with_the_positive(seen: Interactions, batch: Batch) -> None:
    embeddings = LightGCNModel(seen, embedding_size=8, hops=0, seed=1)()
    candidates = drawn(seen, batch, 6)
    mixed = MixGCF(candidates=6).sample(batch, embeddings, candidates, STREAM)
    assert mixed.sources.shape == (len(batch.rows), 1, 1)
    assert torch.equal(
        mixed.sources[:, :, 0], DNS(candidates=6).build(NOTHING).sample(batch, embeddings, candidates, STREAM).items
    )


def semantic(mined: MinedNegatives, **options: float) -> SemanticSampler:
    """The literal form, unless options say otherwise."""
    return Semantic(**{"hidden_size": 16, "match_norm": False, **options}).build(SamplerInputs(8, mined, 3))


def test_semantic_equals_the_slow_loop(
    mined: MinedNegatives, seen: Interactions, batch: Batch, embeddings: Embeddings
) -> None:
    """Eq. 6, 7, 9 and the two weights of eq. 10, one pair at a time."""
    sampler = semantic(mined, alpha=0.3, align_weight=0.5, temperature=0.2, projector_l2=0.01)
    candidates = drawn(seen, batch, 1)
    result = sampler.sample(batch, embeddings, candidates, STREAM)
    w1, b1, w2, b2 = (
        p.detach().double().numpy() for p in (sampler.weight_1, sampler.bias_1, sampler.weight_2, sampler.bias_2)
    )
    users, items = (t.detach().double().numpy() for t in (embeddings.final_users, embeddings.final_items))
    losses, missing = [], 0
    for place, row in enumerate(batch.rows.tolist()):
        uniform = items[candidates[place, 0]]
        vector = mined.vectors[row].astype(float)
        if np.isnan(vector).any():
            missing += 1
            np.testing.assert_allclose(result.vectors[place, 0].detach(), uniform, atol=1e-6)
            continue
        hidden = [max(0.0, float(sum(vector[k] * w1[k, j] for k in range(TEXT_SIZE)) + b1[j])) for j in range(16)]
        hard = np.array([sum(hidden[j] * w2[j, d] for j in range(16)) + b2[d] for d in range(8)])
        np.testing.assert_allclose(result.vectors[place, 0].detach(), 0.7 * uniform + 0.3 * hard, atol=1e-6)
        user, positive = users[batch.users[place]], items[batch.positives[place]]
        near = math.exp(user @ positive / np.linalg.norm(user) / np.linalg.norm(positive) / 0.2)
        far = math.exp(user @ hard / np.linalg.norm(user) / np.linalg.norm(hard) / 0.2)
        losses.append(-math.log(near / (near + far)))
    assert result.counters == {"pairs": len(batch.rows), "pairs without a vector": missing}
    assert missing > 0
    weights = 0.01 / 2 * (np.square(w1).sum() + np.square(w2).sum())
    assert result.auxiliary.item() == pytest.approx(0.5 * np.mean(losses) + weights, rel=1e-5)
    torch.testing.assert_close(result.ego[:, 0], embeddings.items[0][candidates[:, 0]])


def test_semantic_without_alpha_and_lambda_is_the_plain_backbone(
    mined: MinedNegatives, seen: Interactions, batch: Batch
) -> None:
    candidates = drawn(seen, batch, 1)
    gradients = []
    for sampler in (semantic(mined, alpha=0, align_weight=0), Uniform()):
        model = LightGCNModel(seen, embedding_size=8, hops=2, seed=1)
        embeddings = model()
        negatives = sampler.sample(batch, embeddings, candidates, STREAM)
        loss = objective(batch, embeddings, negatives, 1e-2)
        loss.backward()
        gradients.append((loss.detach(), model.users.grad, model.items.grad))
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)


def test_matched_norms_are_those_of_the_uniform_negative(
    mined: MinedNegatives, seen: Interactions, batch: Batch, embeddings: Embeddings
) -> None:
    candidates = drawn(seen, batch, 1)
    vectors = semantic(mined, alpha=1, match_norm=True).sample(batch, embeddings, candidates, STREAM).vectors[:, 0]
    torch.testing.assert_close(vectors.norm(dim=1), embeddings.final_items[candidates[:, 0]].norm(dim=1))


def test_alignment_is_zero_without_any_vector_and_finite_in_its_gradient() -> None:
    users = torch.ones(3, 4, requires_grad=True)
    loss = alignment(users, torch.ones(3, 4), torch.zeros(3, 4), torch.zeros(3, dtype=torch.bool), 0.2)
    assert loss.item() == 0.0
    loss.backward()
    assert users.grad.isfinite().all()


def test_semantic_without_mined_negatives_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"'semantic'.*--negatives"):
        Semantic().build(SamplerInputs(8, None, 0))


def test_unknown_options_are_refused() -> None:
    with pytest.raises(ConfigError, match="canditates"):
        parse_config(SamplerConfig, {"kind": "dns", "canditates": 3}, where="--sampler dns")


def test_vectors_name_their_parts(
    mined: MinedNegatives, seen: Interactions, batch: Batch, embeddings: Embeddings
) -> None:
    result = semantic(mined).sample(batch, embeddings, drawn(seen, batch, 1), STREAM)
    assert isinstance(result, Vectors)
    assert result.parts == ("uniform item", "text item")
    assert (result.sources[:, 0, 1].numpy() == mined.items[batch.rows.numpy(), 0]).all()


def test_the_hardest_candidate_is_the_argmax_and_of_equals_the_first() -> None:
    table = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [2.0, 2.0]])
    queries = torch.tensor([[1.0, 0.0], [0.0, -1.0], [1.0, 1.0]])
    candidates = torch.tensor([[1, 2, 0], [1, 3, 0], [0, 1, 3]])
    assert hardest(queries, table, candidates).tolist() == [2, 0, 3]


@pytest.mark.parametrize("threads", [1, 3])
def test_the_hardest_candidate_equals_that_of_plain_torch(threads: int) -> None:
    torch.set_num_threads(threads)
    generator = torch.Generator().manual_seed(1)
    queries, table = torch.randn(50, 19, generator=generator), torch.randn(30, 19, generator=generator)
    candidates = torch.randint(30, (50, 7), generator=generator)
    expected = (table[candidates] * queries.unsqueeze(1)).sum(dim=2).argmax(dim=1)
    try:
        assert torch.equal(hardest(queries, table, candidates), candidates.gather(1, expected.unsqueeze(1))[:, 0])
    finally:
        torch.set_num_threads(1)


def test_rows_that_were_not_computed_are_detected() -> None:
    """A row of NaN is returned first and shows in the loss; a missing table is an error."""
    table = torch.tensor([[1.0], [float("nan")], [2.0]])
    assert hardest(torch.ones(2, 1), table, torch.tensor([[0, 1, 2], [0, 2, 0]])).tolist() == [1, 2]
    with pytest.raises(DataError, match=r"rows 0 to 3 of a table that has 0.*hops_read"):
        hardest(torch.ones(1, 1), table[:0], torch.tensor([[0, 3]]))
    with pytest.raises(DataError, match=r"rows -1 to 0 of a table that has 3.*hops_read"):
        mix((table,), torch.tensor([0]), [torch.tensor([-1])], torch.ones(1, 1), "mean")


def test_gradients_are_sparse_where_the_table_accepts_them(seen: Interactions) -> None:
    index = torch.tensor([1, 1, 3])
    leaf = torch.zeros(5, 2, requires_grad=True)
    gather_rows(leaf, index).sum().backward()
    assert leaf.grad.is_sparse
    own = torch.zeros(5, 2, requires_grad=True)
    gather_rows(own * 2, index).sum().backward()
    assert own.grad.tolist() == [[0, 0], [4, 4], [0, 0], [2, 2], [0, 0]]
    assert torch.equal(leaf.grad.to_dense() * 2, own.grad)


@pytest.mark.parametrize("pooling", ["mean", "sum"])
def test_mixing_in_one_pass_is_mixing_by_torch_with_its_gradients(pooling: str) -> None:
    generator = torch.Generator().manual_seed(3)
    positives, mixing = torch.randint(12, (30,), generator=generator), torch.rand(30, 3, generator=generator)
    chosen = [torch.randint(12, (30,), generator=generator) for _ in range(3)]
    start = [torch.randn(12, 10, generator=generator) for _ in range(3)]
    weights = torch.randn(30, 10, generator=generator)

    def gradients(tables: list[Tensor], leaves: list[Tensor]) -> tuple[Tensor, ...]:
        vectors, ego = mix(tuple(tables), positives, chosen, mixing, pooling)
        ((vectors * weights).sum() + ego.square().sum()).backward()
        return vectors.detach(), ego.detach(), *(to_dense(leaf.grad) for leaf in leaves)

    one = [table.clone().requires_grad_() for table in start]
    other = [table.clone().requires_grad_() for table in start]
    for result, expected in zip(gradients(one, one), gradients([t * 1.0 for t in other], other), strict=True):
        torch.testing.assert_close(result, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("inner", [Uniform(), DNS(candidates=4), MixGCF(candidates=4)])
def test_semantic_mixing_equals_the_slow_loop(
    seen: Interactions, batch: Batch, embeddings: Embeddings, inner: Uniform | DNS | MixGCF
) -> None:
    near = some_neighbours()
    sampler = SemanticMixing(sampler=inner, alpha=0.3, neighbours=3).build(SamplerInputs(8, None, 0, near))
    plainly = inner.build(NOTHING)
    candidates = drawn(seen, batch, plainly.n_candidates)
    result = sampler.sample(batch, embeddings, candidates, STREAM)
    plain = plainly.sample(batch, embeddings, candidates, STREAM)
    units = Stream(STREAM.seed, "sampler, neighbours", STREAM.epoch).uniform(batch.rows.numpy(), 3)
    table, lonely = embeddings.final_items.detach(), 0
    for place, positive in enumerate(batch.positives.tolist()):
        made_of = [plain.items[place, 0]] if isinstance(plain, Items) else plain.sources[place, 0].tolist()
        vector = table[made_of[0]] if isinstance(plain, Items) else plain.vectors[place, 0].detach()
        j = int(made_of[int(units[place, 2] * len(made_of))])
        partners = []
        for item, unit in ((positive, units[place, 0]), (j, units[place, 1])):
            known = [n for n in near.items[item, :3].tolist() if n >= 0]
            partners.append(known[int(unit * len(known))] if known else item)
        torch.testing.assert_close(result.positives[place].detach(), 0.7 * table[positive] + 0.3 * table[partners[0]])
        torch.testing.assert_close(result.vectors[place, 0].detach(), 0.7 * vector + 0.3 * table[partners[1]])
        assert result.sources[place, 0, -1] == (-1 if partners[1] == j else partners[1])
        lonely += partners[0] == positive
    ego = plain.ego if isinstance(plain, Vectors) else gather_rows(embeddings.items[0], plain.items)
    assert torch.equal(result.ego, ego)
    assert result.counters == {"pairs mixed with a neighbour": len(batch.rows), "positives without a neighbour": lonely}


def test_the_loss_uses_the_mixed_positive_and_updates_its_neighbour(seen: Interactions, batch: Batch) -> None:
    near = ItemNeighbours(((np.arange(12) + 6) % 12)[:, None], "half way round")
    sampler = SemanticMixing(sampler=Uniform(), alpha=0.3, neighbours=1).build(SamplerInputs(8, None, 0, near))
    model = LightGCNModel(seen, embedding_size=8, hops=0, seed=1)
    candidates = drawn(seen, batch, 1)
    one = Batch(batch.rows[:1], batch.users[:1], batch.positives[:1], 1, 0)
    embeddings = model()
    loss = objective(one, embeddings, sampler.sample(one, embeddings, candidates[:1], STREAM), 0.0)
    loss.backward()
    users, items = model.users.detach().double(), model.items.detach().double()
    i, j = int(one.positives), int(candidates[0, 0])
    mixed = [0.7 * items[k] + 0.3 * items[(k + 6) % 12] for k in (i, j)]
    assert loss.item() == pytest.approx(
        math.log1p(math.exp(float(users[one.users[0]] @ (mixed[1] - mixed[0])))), rel=1e-5
    )
    moved = set(to_dense(model.items.grad).abs().sum(dim=1).nonzero().flatten().tolist())
    assert moved == {i, j, (i + 6) % 12, (j + 6) % 12}


@pytest.mark.parametrize("inner", [Uniform(), DNS(candidates=4), MixGCF(candidates=4)])
def test_semantic_mixing_without_alpha_is_the_inner_sampler(seen: Interactions, inner: Uniform | DNS | MixGCF) -> None:
    tables = []
    for sampler in (inner, SemanticMixing(sampler=inner, alpha=0, neighbours=3)):
        model = LightGCNModel(seen, embedding_size=8, hops=2, seed=1)
        built = sampler.build(SamplerInputs(8, None, 0, some_neighbours()))
        settings = FitConfig(epochs=3, batch_size=8, check_every=3)
        fit_model(model, seen, built, UniformCandidates(seen), settings, validate=lambda _: {"recall@20": 0.0})
        tables.append((model.users.detach(), model.items.detach()))
    assert all(torch.equal(one, other) for one, other in zip(*tables, strict=True))


def test_semantic_mixing_without_neighbours_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"'semantic-mixing'.*--negatives"):
        SemanticMixing().build(SamplerInputs(8, None, 0))
    with pytest.raises(ConfigError, match=r"4 .*10"):
        SemanticMixing().build(SamplerInputs(8, None, 0, some_neighbours()))
