"""Fine-tuning of a language model to emit hard negatives as vectors (HNLMRec, section 4), and their synthesis.

source = base_model("minilm")
template = Template(source.tokenizer())
encoder = open_encoder_model(source, EncoderConfig(), spaces=EmbeddingSpaces(...))
tuned = tune(encoder, template, inputs, labels, TuningConfig())
synthesize(tuned.encoder, template, inputs, folder)
"""

from hardneg.finetuning.alignment import procrustes, random_rotation, rotate
from hardneg.finetuning.folder import NO_BASE, load_tuned, save_tuned
from hardneg.finetuning.inputs import EmbeddingSpace, EmbeddingSpaces, PairInputs
from hardneg.finetuning.model import EncoderConfig, HardNegativeEncoder, base_model, open_encoder_model
from hardneg.finetuning.perceptron import AnyEncoder, NoTemplate, Perceptron, PerceptronConfig
from hardneg.finetuning.pooling import pool_sets, rescale_inputs
from hardneg.finetuning.projection import ProjectionConfig
from hardneg.finetuning.synthesis import SynthesisConfig, synthesize
from hardneg.finetuning.template import Template, TemplateConfig
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
    "pool_sets",
    "procrustes",
    "random_rotation",
    "rescale_inputs",
    "rotate",
    "save_tuned",
    "synthesize",
    "tune",
]
