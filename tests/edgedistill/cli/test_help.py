"""`--help` of the program and of every verb, and what a wrong verb is told."""

import re
import shlex

import pytest

from edgedistill.cli.main import MODULES, build_parser, main
from edgedistill.cli.verbs import GROUPS, OTHER_WORDS, VERBS, page_of
from edgedistill.pipeline.table import STAGES
from end_to_end import ROOT

PARSERS = next(action for action in build_parser()._actions if action.dest == "verb").choices


def words_of(text):
    """Without the line breaks that argparse puts in."""
    return " ".join(text.split())


def test_the_rows_are_the_verbs():
    stages = {stage.name for stage in STAGES}
    assert set(PARSERS) == set(VERBS) == stages | MODULES
    assert {name for name, verb in VERBS.items() if not verb.help} == stages - {"deploy"}
    assert sum(map(len, GROUPS.values())) == len(VERBS), "each in one group"
    trained = [name for name in GROUPS["train, one stage at a time"] if name in stages]
    assert trained == [stage.name for stage in STAGES if stage.name != "deploy"], "in the order of a run"


def test_help_has_the_groups_and_a_line_of_each_verb():
    text = build_parser().format_help()
    heads = [title for title in GROUPS if re.search(rf"(?m)^ +{re.escape(title)}:$", text)]
    assert heads == list(GROUPS)
    lines = re.findall(r"(?m)^ {4,6}([a-z]+)  +\S", text)
    assert lines == list(VERBS)
    assert [title.partition(",")[0] for title in GROUPS] == ["start", "train", "look", "board", "fleet"]


@pytest.mark.parametrize("name", VERBS)
def test_a_verbs_help_has_a_sentence_an_example_and_its_page(name):
    verb, text = VERBS[name], PARSERS[name].format_help()
    sentence = PARSERS[name].description
    assert re.fullmatch(r"[A-Z].{15,}[^.]\.", sentence)
    assert sentence in words_of(text)
    assert f"example:\n  {verb.example}\n" in text
    assert f"documentation: {page_of(verb)}" in text
    assert re.search(rf"\b{name}\b", (ROOT / page_of(verb)).read_text(encoding="utf-8")), "the page is about the verb"


@pytest.mark.parametrize("name", VERBS)
def test_the_example_is_a_command_of_this_verb(name):
    program, *words = shlex.split(VERBS[name].example.partition(" > ")[0])
    assert program == "edgedistill"
    assert build_parser().parse_args(words).verb == name


@pytest.mark.parametrize("name", VERBS)
def test_the_page_is_the_one_that_the_index_of_docs_names(name):
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8").partition("on the board | page")[0]
    (row,) = [line for line in index.splitlines() if line.startswith("| `") and f"`{name}`" in line.split("|")[1]]
    assert f"({VERBS[name].page})" in row.replace("../", "")


@pytest.mark.parametrize("name", VERBS)
def test_every_option_has_a_help_text_that_formats(name):
    for action in PARSERS[name]._actions:
        if action.option_strings:
            assert action.help, action.option_strings
            assert "None" not in action.help % vars(action), action.option_strings


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("distil", "distill"),
        ("prdict", "predict"),
        ("xyzzy", None),
        ("quantise", "quantize"),
        ("train", "run"),
        ("trian", "run"),
        ("quick", "quickstart"),
        ("benchmark", "bench"),
        ("eval", "evaluate"),
    ],
)
def test_a_wrong_verb_is_told_what_was_meant(capsys, typed, meant):
    with pytest.raises(SystemExit) as ended:
        main([typed, "r.toml"])
    assert ended.value.code == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert f"no verb {typed!r}; " in last
    assert last.endswith(f"it has: {', '.join(VERBS)}")
    assert ("did you mean" in last) == (meant is not None)
    assert meant is None or f"did you mean {meant!r}? " in last


def test_words_of_other_programs_lead_to_verbs_that_there_are():
    assert set(OTHER_WORDS.values()) <= set(VERBS)
    assert not set(OTHER_WORDS) & set(VERBS)
