"""Tuning a language model to write hard negatives as vectors (HNLMRec, section 4), and having it write them.

source = base("minilm")
template = Template(source.tokenizer())
writer = open_writer(source, ModelConfig(), spaces=Spaces(...))
tuned = tune(writer, template, inputs, labels, TuningConfig())
synthesise(tuned.writer, template, inputs, folder)
"""

from hardneg.finetuning.alignment import procrustes, random_rotation, turned
from hardneg.finetuning.folder import NO_BASE, base_of, load, save
from hardneg.finetuning.inputs import Inputs, Space, Spaces
from hardneg.finetuning.judging import Judged, judge, written
from hardneg.finetuning.model import ModelConfig, Writer, base, open_writer
from hardneg.finetuning.perceptron import AnyWriter, Perceptron, PerceptronConfig, Wordless
from hardneg.finetuning.projection import ProjectionConfig
from hardneg.finetuning.sets import levelled, pooled
from hardneg.finetuning.synthesis import SynthesisConfig, synthesise
from hardneg.finetuning.template import Template, TemplateConfig
from hardneg.finetuning.tuning import Tuned, TuningConfig, tune

__all__ = [
    "NO_BASE",
    "AnyWriter",
    "Inputs",
    "Judged",
    "ModelConfig",
    "Perceptron",
    "PerceptronConfig",
    "ProjectionConfig",
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
    "judge",
    "levelled",
    "load",
    "open_writer",
    "pooled",
    "procrustes",
    "random_rotation",
    "save",
    "synthesise",
    "tune",
    "turned",
    "written",
]
