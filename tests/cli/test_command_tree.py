"""Every command has few options, a help text for each of them, and an example."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import pytest
import typer
from tests.cli.test_commands import succeed

from hardneg.cli.common import DeviceOptions
from hardneg.cli.llm_options import LlmOptions
from hardneg.cli.main import app

MOST_OPTIONS = 14
SHARED = {field.name for group in (DeviceOptions, LlmOptions) for field in fields(group)}
Command = tuple[tuple[str, ...], Any]


def commands(node: Any, words: tuple[str, ...] = ()) -> Iterator[Command]:
    """Yield every command of the tree with the words that call it."""
    if not hasattr(node, "commands"):
        yield words, node
        return
    for name, child in node.commands.items():
        yield from commands(child, (*words, name))


COMMANDS = list(commands(typer.main.get_command(app)))
IDS = [" ".join(words) for words, _ in COMMANDS]


def test_the_tree_has_every_command() -> None:
    expected = """run demo doctor train baseline fuse rerank evaluate recommend similar export
    data_import_table data_import_amazon data_import_yelp data_import_movielens data_import_recbole data_import_selfrec
    data_import_lightgcn data_import_pairs data_import_custom
    data_simulate data_split data_describe data_add-noise
    audit_split audit_run audit_folder audit_suspects profiles_write profiles_encode llm_models llm_get llm_check llm_estimate_writing llm_estimate_judging
    finetune_label finetune_train finetune_train-pooled finetune_synthesize
    negatives_retrieve negatives_generate negatives_control_random negatives_control_shuffled negatives_control_positive
    negatives_control_labels neighbours_find_text neighbours_find_co-occurrence neighbours_find_random
    trees_build suspects_identify suspects_evaluate study_list study_run study_search study_estimate
    compare show options init report"""
    assert set(IDS) == {name.replace("_", " ") for name in expected.split()}


@pytest.mark.parametrize(("words", "command"), COMMANDS, ids=IDS)
def test_a_command_has_few_options_and_explains_each(words: tuple[str, ...], command: Any) -> None:
    parameters = [parameter for parameter in command.params if parameter.name != "help"]
    own = {p.name for p in parameters if p.param_type_name == "option"} - SHARED
    assert len(own) <= MOST_OPTIONS, sorted(own)
    for parameter in parameters:
        assert (parameter.help or "").endswith("."), parameter.name


@pytest.mark.parametrize(("words", "command"), COMMANDS, ids=IDS)
def test_a_command_has_an_example_and_a_short_first_line(words: tuple[str, ...], command: Any) -> None:
    assert "Example" in command.help
    assert f"`hardneg {' '.join(words)}" in command.help
    assert command.help.splitlines()[0].endswith((".", "?"))


def test_an_example_names_only_options_of_its_command() -> None:
    for words, command in COMMANDS:
        options = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
        for line in command.help.splitlines():
            if line.strip().startswith("`hardneg ") or "Example: `hardneg " in line:
                used = {word for word in line.strip("` ").split() if word.startswith("-")}
                assert used <= options, (words, used - options)


def test_help_is_grouped_by_task() -> None:
    output = succeed("--help")
    order = ["Start", "demo", "Data", "audit", "profiles", "Negatives", "suspects", "Models", "train", "Comparisons"]
    places = [output.index(f" {word} ") for word in order]
    assert places == sorted(places)
    assert all(option in output for option in ("--version", "--install-completion"))
