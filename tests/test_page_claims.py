"""README and docs say nothing of this repository that is not so: links, anchors, files, commands, recipe keys."""

import re
import subprocess

import pytest

import edgedistill
from documents import FENCE
from edgedistill.cli.main import build_parser
from edgedistill.config.loading import apply_override, recipe_from_table
from edgedistill.config.recipe import Recipe
from edgedistill.config.target import target_names
from edgedistill.pipeline.table import STAGES
from edgedistill_device.__main__ import build_parser as device_parser
from end_to_end import ROOT
from page_claims import anchor_of, claims_from_text

INDEX = ROOT / "docs" / "README.md"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
CLAIMS = {page: claims_from_text(page.read_text(encoding="utf-8")) for page in PAGES}
# A log says what was true on its day; a generated page is compared with its script.
TODAY = [page for page in PAGES if page.name not in {"experiments.md", "cli.md", "api.md"}]
PARSERS = {"edgedistill": build_parser(), "edgedistill_device": device_parser()}
TRACKED = subprocess.run(
    ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
).stdout.split()
NAMED_FILE = re.compile(r"[\w./-]+\.(?:py|md|csv|sh|service|Dockerfile|toml|json)$")
SOURCES = ("edgedistill/", "jetson/", "calibration/", "tests/", "benchmarks/", "docs/", "assets/", "docker/")
NOT_OURS = {"train.py", "engine.py", "reinforce.py", "docs/operators.md"}  # timm, Ultralytics, ml-dr, onnx-tensorrt
ON_THE_BOARD = {"edgedistill/board.json"}  # below the login's home folder
SUFFIXES = {"json", "csv", "py", "html", "toml", "tar", "npz", "safetensors", "txt", "png", "onnx", "md"}


def name_of(page):
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_and_anchors_lead_somewhere(page):
    for link in CLAIMS[page].links:
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{name_of(page)} links to {link}"
        if anchor and target.suffix == ".md":
            assert anchor in CLAIMS[target].anchors, f"{name_of(page)} links to {link}: no such heading"


def test_the_readme_is_short_and_names_every_board():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) < 150
    assert set(target_names()) <= set(CLAIMS[ROOT / "README.md"].codes)


def test_every_page_is_reached_from_the_index():
    reached, waiting = set(), [INDEX]
    while waiting:
        page = waiting.pop()
        if page not in reached and page in CLAIMS:
            reached.add(page)
            waiting += [(page.parent / link.partition("#")[0]).resolve() for link in CLAIMS[page].links]
    assert set(PAGES) == reached


@pytest.mark.parametrize("page", TODAY, ids=name_of)
def test_commands_parse_as_they_stand(page, capsys):
    for program, words in CLAIMS[page].commands:
        code = exit_code_of_parsing(program, words)
        assert code == 0, f"{name_of(page)}: {program} {' '.join(words)}: {capsys.readouterr().err}"


@pytest.mark.parametrize("page", TODAY, ids=name_of)
def test_verbs_and_options_that_are_mentioned_exist(page):
    for program, words in CLAIMS[page].mentions:
        fault = fault_of_mention(program, words)
        assert fault is None, f"{name_of(page)}: {program} {' '.join(words)}: {fault}"


@pytest.mark.parametrize("page", TODAY, ids=name_of)
def test_overrides_are_keys_of_a_recipe_with_values_that_it_takes(page):
    for _, words in CLAIMS[page].commands + CLAIMS[page].mentions:
        table = {"data": {"train": "images"}}
        for option, value in zip(words, words[1:], strict=False):
            if option == "--set" and "=" in value and value != "section.key=value":
                apply_override(table, value)
        recipe_from_table(table, source=name_of(page))


@pytest.mark.parametrize("page", TODAY, ids=name_of)
def test_recipe_keys_that_are_named_exist(page):
    sections = {name: field.annotation.model_fields for name, field in Recipe.model_fields.items()}
    for code in CLAIMS[page].codes:
        named = re.match(r"(\w+)\.(\w+)(?= =|=|$)", code)
        if named and named[1] in sections and named[2] not in SUFFIXES:
            assert named[2] in sections[named[1]], f"{name_of(page)}: `{code}`"


@pytest.mark.parametrize("page", TODAY, ids=name_of)
def test_files_that_are_named_exist(page):
    words = {word for code in CLAIMS[page].codes for word in code.split()}
    faults = {word: fault_of_file(word) for word in sorted(words)}
    assert not {word: fault for word, fault in faults.items() if fault}, name_of(page)


def test_the_drawn_trees_are_there():
    checkout, run = drawn_trees((ROOT / "docs" / "architecture.md").read_text(encoding="utf-8"))
    assert len(checkout) > 10
    for path in checkout:
        assert (ROOT / path).exists(), path
    optional = {"schedule", "synthesise", "assist", "curve"}
    assert [path.rstrip("/") for path in run] == [stage.name for stage in STAGES if stage.name not in optional]


@pytest.mark.parametrize("page", TODAY, ids=name_of)
def test_make_targets_exist(page):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = {name for names in re.findall(r"^([a-z -]+):", makefile, re.M) for name in names.split()}
    lines = [line for _, body in FENCE.findall(page.read_text("utf-8")) for line in body.splitlines()]
    for text in (*CLAIMS[page].codes, *lines):
        made = re.match(r"make ([a-z-]+)", text)
        assert made is None or made[1] in targets, f"{name_of(page)}: {text}"


@pytest.mark.parametrize("page", TODAY, ids=name_of)
def test_functions_of_the_package_exist(page):
    for code in CLAIMS[page].codes:
        called = re.match(r"edgedistill\.(\w+)\(", code)
        assert called is None or hasattr(edgedistill, called[1]), f"{name_of(page)}: `{code}`"


def drawn_trees(text):
    """Of each tree that is drawn in a text block: its paths, below its first line."""
    for kind, body in FENCE.findall(text):
        if kind == "text" and "├── " in body:
            paths, folders = [], {}
            for line in body.splitlines()[1:]:
                branch, name = re.match(r"([│ ]*[├└]── )(\S+)", line).groups()
                depth = len(branch) // 4
                folders[depth] = folders.get(depth - 1, "") + name
                paths.append(folders[depth])
            yield paths


def exit_code_of_parsing(program, words):
    try:
        PARSERS[program].parse_args(list(words))
    except SystemExit as stopped:  # of --help too
        return stopped.code
    return 0


def fault_of_mention(program, words):
    """Why a command in the text cannot be one: its verb, or an option that the verb lacks."""
    verbs = next(action for action in PARSERS[program]._actions if action.dest == "verb").choices
    if not words or words[0].startswith("-") or words[0].isupper() or words[0] == "...":
        return None
    if words[0] not in verbs:
        return f"no verb {words[0]}"
    known = set(verbs[words[0]]._option_string_actions)
    for action in verbs[words[0]]._actions:
        if hasattr(action.choices, "values"):  # the verbs below `keys`
            known |= {option for parser in action.choices.values() for option in parser._option_string_actions}
    lacking = [word for word in words if re.match(r"--?[a-z]", word) and word.partition("=")[0] not in known]
    return f"no option {', '.join(lacking)}" if lacking else None


def fault_of_file(word):
    if not NAMED_FILE.match(word) or word in NOT_OURS | ON_THE_BOARD or word.startswith((".", "/")):
        return None
    if word.startswith(SOURCES):
        return None if word in TRACKED else "no such file"
    if not word.endswith(".py"):  # the user's own
        return None
    return None if any(f"/{path}".endswith(f"/{word}") for path in TRACKED) else "no file of that name"


def test_what_the_checks_find():
    found = claims_from_text(
        "# A `b`, c\n## A\n## A\n[l](x.md#a) ![p](p.png) `edgedistill run\nr.toml`\n"
        "```sh\nA=1 edgedistill check m.onnx \\\n  --json | head  # why\ncd x && edgedistill data r.toml > f\n```\n"
    )
    assert found.links == ("x.md#a", "p.png")
    assert found.anchors == {"a-b-c", "a", "a-1"}
    assert found.commands == (
        ("edgedistill", ("check", "m.onnx", "--json")),
        ("edgedistill", ("data", "r.toml")),
    )
    assert found.mentions == (("edgedistill", ("run", "r.toml")),)
    assert anchor_of("`check --fix OUT.onnx`") == "check---fix-outonnx"


@pytest.mark.parametrize(
    ("program", "words", "fault"),
    [
        ("edgedistill", ("run", "--seeds", "N"), None),
        ("edgedistill", ("keys", "new", "--no-passphrase"), None),
        ("edgedistill", ("VERB", "--help"), None),
        ("edgedistill", ("train", "x"), "no verb train"),
        ("edgedistill", ("run", "--sseds", "3"), "no option --sseds"),
        ("edgedistill_device", ("verify", "--fix"), "no option --fix"),
    ],
)
def test_a_verb_or_option_that_does_not_exist_is_found(program, words, fault):
    assert fault_of_mention(program, words) == fault


def test_a_command_that_does_not_parse_is_found(capsys):
    assert exit_code_of_parsing("edgedistill", ("check", "m.onnx", "--fix")) == 2
    assert "--fix: expected one argument" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("word", "fault"),
    [
        ("edgedistill/cli/main.py", None),
        ("prediction/kernels.py", None),
        ("parts.toml", None),
        ("edgedistill/cli/maim.py", "no such file"),
        ("prediction/kernel.py", "no file of that name"),
    ],
)
def test_a_file_that_does_not_exist_is_found(word, fault):
    assert fault_of_file(word) == fault
