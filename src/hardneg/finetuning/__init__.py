"""Fine-tuning of a language model to emit hard negatives as vectors (HNLMRec, section 4), and their synthesis.

source = base_model("minilm")
template = Template(source.tokenizer())
encoder = open_encoder_model(source, EncoderConfig(), spaces=EmbeddingSpaces(...))
tuned = tune(encoder, template, inputs, labels, TuningConfig())
synthesize(tuned.encoder, template, inputs, folder)
"""

from hardneg.finetuning.folder import NO_BASE, load_tuned, save_tuned
from hardneg.finetuning.inputs import EmbeddingSpace, EmbeddingSpaces, PairInputs, Template, TemplateConfig
from hardneg.finetuning.linear_maps import ProjectionConfig
from hardneg.finetuning.model import (
    AnyEncoder,
    EncoderConfig,
    HardNegativeEncoder,
    NoTemplate,
    Perceptron,
    PerceptronConfig,
    base_model,
    open_encoder_model,
)
from hardneg.finetuning.synthesis import SynthesisConfig, synthesize
from hardneg.finetuning.tuning import TunedEncoder, TuningConfig, tune

__all__ = [
    "NO_BASE",
    "AnyEncoder",
    "EmbeddingSpace",
    "EmbeddingSpaces",
    "EncoderConfig",
    "HardNegativeEncoder",
    "NoTemplate",
    "PairInputs",
    "Perceptron",
    "PerceptronConfig",
    "ProjectionConfig",
    "SynthesisConfig",
    "Template",
    "TemplateConfig",
    "TunedEncoder",
    "TuningConfig",
    "base_model",
    "load_tuned",
    "open_encoder_model",
    "save_tuned",
    "synthesize",
    "tune",
]
