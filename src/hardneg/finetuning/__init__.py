"""Tuning a language model to write hard negatives as vectors (HNLMRec, section 4), and having it write them.

source = base("minilm")
template = Template(source.tokenizer())
writer = open_writer(source, ModelConfig(), spaces=Spaces(...))
tuned = tune(writer, template, inputs, labels, TuningConfig())
synthesise(tuned.writer, template, inputs, folder)
"""

from hardneg.finetuning.checkpoint import Resume
from hardneg.finetuning.folder import NO_BASE, base_of, load, save
from hardneg.finetuning.inputs import Inputs, Space, Spaces
from hardneg.finetuning.model import ModelConfig, Writer, base, open_writer
from hardneg.finetuning.perceptron import AnyWriter, Perceptron, PerceptronConfig, Wordless
from hardneg.finetuning.projection import ProjectionConfig
from hardneg.finetuning.synthesis import SynthesisConfig, synthesise
from hardneg.finetuning.template import Template, TemplateConfig
from hardneg.finetuning.tuning import Tuned, TuningConfig, tune

__all__ = [
    "NO_BASE",
    "AnyWriter",
    "Inputs",
    "ModelConfig",
    "Perceptron",
    "PerceptronConfig",
    "ProjectionConfig",
    "Resume",
    "Space",
    "Spaces",
    "SynthesisConfig",
    "Template",
    "TemplateConfig",
    "Tuned",
    "TuningConfig",
    "Wordless",
    "Writer",
    "base",
    "base_of",
    "load",
    "open_writer",
    "save",
    "synthesise",
    "tune",
]
