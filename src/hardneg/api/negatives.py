"""Negatives of the API: configurations of samplers, and functions that make negatives, trees and suspects."""

from __future__ import annotations

from typing import Any, Literal, TypeVar

from hardneg import pipeline
from hardneg.api.folders import (
    NegativesFolder,
    NeighboursFolder,
    ProfilesFolder,
    RunFolder,
    SplitFolder,
    SuspectsFolder,
    TreesFolder,
    VectorsFolder,
)
from hardneg.config import parse_config
from hardneg.judging import JudgeConfig
from hardneg.llm.session import Session
from hardneg.mining import RetrievalConfig
from hardneg.mining.generated import NamingMode
from hardneg.pipeline import GenerationConfig, SuspectInputs, SuspectsConfig
from hardneg.sampling import (
    AHNS,
    ANS,
    DENS,
    DNS,
    GDNS,
    SRNS,
    AdaptiveSoftmax,
    InBatchSampling,
    MixGCF,
    MultiView,
    PopularitySampling,
    SamplerConfig,
    Semantic,
    SemanticLiteral,
    SemanticMixing,
    Uniform,
)
from hardneg.sampling.mined import NeighbourSource
from hardneg.text import ItemVectors, ProfilesConfig, TextEncoder, sentence_encoder
from hardneg.text.text_vectors import ItemSource
from hardneg.trees import TreesConfig

__all__ = [
    "AHNS",
    "ANS",
    "DENS",
    "DNS",
    "GDNS",
    "SRNS",
    "AdaptiveSoftmax",
    "InBatchSampling",
    "ItemVectors",
    "MixGCF",
    "MultiView",
    "PopularitySampling",
    "SamplerConfig",
    "Semantic",
    "SemanticLiteral",
    "SemanticMixing",
    "Uniform",
    "build_trees",
    "find_neighbours",
    "generate",
    "identify_suspects",
    "make_profiles",
    "make_vectors",
    "random_vectors",
    "retrieve",
    "shuffle",
]

E = TypeVar("E", bound=TextEncoder | ItemVectors)


def make_profiles(
    split: SplitFolder, session: Session | None = None, config: ProfilesConfig | None = None
) -> ProfilesFolder:
    """Return profiles of users and items: extracts, or written by the language model of a session."""
    if session is None:
        stage = pipeline.extract_profiles_stage(split.folder)
    else:
        stage = pipeline.generate_profiles_stage(split.folder, session, config or ProfilesConfig())
    return ProfilesFolder(split.workspace.run(stage), split.workspace)


def make_vectors(
    split: SplitFolder,
    profiles: ProfilesFolder | None = None,
    *,
    encoder: str | TextEncoder | ItemVectors = "minilm",
    items: ItemSource = "texts",
) -> VectorsFolder:
    """Encode item texts, or item profiles, and user profiles, for models that read text: `fit(model=..., vectors=...)`.

    profiles, encoder: as in `retrieve`.
    """
    described = profiles if profiles is not None or isinstance(encoder, ItemVectors) else make_profiles(split)
    folder = None if described is None else described.folder
    stage = pipeline.encode_texts_stage(split.folder, folder, _encoder(encoder), items=items)
    return VectorsFolder(split.workspace.run(stage), split.workspace)


def retrieve(
    split: SplitFolder,
    profiles: ProfilesFolder | None = None,
    *,
    encoder: str | TextEncoder | ItemVectors = "minilm",
    **settings: Any,
) -> NegativesFolder:
    """Retrieve, for every train pair, catalogue items near in text to the positive and to the user's profile.

    profiles: extracts by default. encoder: packaged "minilm", a sentence-transformers name or folder, or an object;
    `ItemVectors(file)` for own vectors of items, which need no profiles.
    settings: n, pool, profile_share, duplicate of `RetrievalConfig`.
    """
    config: RetrievalConfig = parse_config(RetrievalConfig, settings, where="retrieve")
    if profiles is None and not isinstance(encoder, ItemVectors):
        profiles = make_profiles(split)
    described = None if profiles is None else profiles.folder
    stage = pipeline.retrieve_stage(split.folder, described, config, _encoder(encoder))
    return NegativesFolder(split.workspace.run(stage), split.workspace)


def generate(
    split: SplitFolder,
    session: Session,
    profiles: ProfilesFolder | None = None,
    *,
    per: Literal["pair", "item"] | None = None,
    naming: NamingMode | None = None,
    k: int | None = None,
    suspects: SuspectsFolder | None = None,
    encoder: str | TextEncoder = "minilm",
    config: GenerationConfig | None = None,
) -> NegativesFolder:
    """Let a language model name a hard negative for every train pair, or k for every item, of which each pair takes one.

    profiles: for pairs, written by the model by default; for items, the source of users' vectors, by default means over
    train items. per, naming, k: replace those of config. suspects: for items, not taken by pairs of their user.
    """
    chosen = (config or GenerationConfig()).replaced(per=per, naming=naming, k=k)
    if chosen.per == "pair":
        profiles = profiles or make_profiles(split, session)
    stage = pipeline.generate_stage(
        split.folder,
        None if profiles is None else profiles.folder,
        session,
        _encoder(encoder),
        chosen,
        suspects_dir=None if suspects is None else suspects.folder,
    )
    return NegativesFolder(split.workspace.run(stage), split.workspace)


def random_vectors(split: SplitFolder, like: NegativesFolder, *, seed: int = 0) -> NegativesFolder:
    """Return a control: random vectors with the norms, and the gaps, of other negatives."""
    stage = pipeline.random_negatives_stage(split.folder, like.folder, seed)
    return NegativesFolder(split.workspace.run(stage), split.workspace)


def shuffle(split: SplitFolder, like: NegativesFolder, *, seed: int = 0) -> NegativesFolder:
    """Return a control: other negatives, assigned to other pairs at random."""
    stage = pipeline.shuffled_negatives_stage(split.folder, like.folder, seed)
    return NegativesFolder(split.workspace.run(stage), split.workspace)


def find_neighbours(
    split: SplitFolder,
    by: NeighbourSource = "text",
    *,
    k: int = 10,
    encoder: str | TextEncoder | ItemVectors = "minilm",
    profiles: ProfilesFolder | None = None,
    seed: int = 0,
) -> NeighboursFolder:
    """Find k neighbours of every item, for the sampler `SemanticMixing`.

    encoder: as in `retrieve`. profiles: for "text", encoded in place of the item texts. seed: for "random" only.
    """
    chosen = _encoder(encoder) if by == "text" else None
    described = None if profiles is None else profiles.folder
    stage = pipeline.neighbours_stage(split.folder, by, k=k, encoder=chosen, profiles_dir=described, seed=seed)
    return NeighboursFolder(split.workspace.run(stage), split.workspace)


def build_trees(split: SplitFolder, run: RunFolder, config: TreesConfig | None = None) -> TreesFolder:
    """Build the structural item tree, and the semantic one over the item embeddings of a run (DTL-NS)."""
    stage = pipeline.trees_stage(split.folder, config or TreesConfig(), run=run.folder)
    return TreesFolder(split.workspace.run(stage), split.workspace)


def identify_suspects(
    split: SplitFolder,
    run: RunFolder,
    trees: TreesFolder | None = None,
    *,
    judge: str | JudgeConfig = "rule",
    session: Session | None = None,
    **settings: Any,
) -> SuspectsFolder:
    """Let a judge label each user's candidates, the unobserved items that a run ranks highest (DTL-NS).

    judge: its kind, or its settings. session: for judges that query a language model. settings: candidates, codes, seed of
    `SuspectsConfig`.
    """
    values = {"judge": {"kind": judge} if isinstance(judge, str) else judge, **settings}
    config: SuspectsConfig = parse_config(SuspectsConfig, values, where="identify_suspects")
    sources = SuspectInputs(run.folder, None if trees is None else trees.folder, session)
    return SuspectsFolder(split.workspace.run(pipeline.suspects_stage(split.folder, sources, config)), split.workspace)


def _encoder(encoder: str | E) -> TextEncoder | E:
    return sentence_encoder(encoder) if isinstance(encoder, str) else encoder
