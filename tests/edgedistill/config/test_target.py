"""A board is one TOML: what its optional tables must say, and the line that a fault gives."""

import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest

from edgedistill.config.target import load_target, releases, target_from_text, target_names, targets
from edgedistill.errors import RecipeError
from edgedistill_device.board.jetpacks import JETPACKS, described, of_l4t, tensorrt_of_board
from edgedistill_device.engine.precision import has_int8

TEXT = (resources.files("edgedistill.config") / "targets" / "jetson-nano.toml").read_text("utf-8")


def test_each_file_is_a_board_of_that_name():
    assert list(targets()) == list(target_names())
    assert all(load_target(name) == target for name, target in targets().items())
    assert load_target("xavier-nx", "8.2").tensorrt == "8.2"
    assert load_target("xavier-nx").tensorrt == "8.5"


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ('tensorrt = "8.2"', 'tensorrt = "8.9"', "tensorrt: expected one of 8.2, "),
        ('tensorrt = "8.2"', "", "tensorrt is missing"),
        ("sm = 53", 'sm = "five"', "sm: input should be a valid integer"),
        ("bytes_per_emc", "byte_per_emc", "[hardware] has no key 'byte_per_emc_cycle'; did you mean 'bytes_"),
        ("bytes_per_emc_cycle = 16", "bytes_per_emc_cycle = 0", "hardware.bytes_per_emc_cycle: input should be gr"),
        ("fp32 = 128", "fp64 = 128", "hardware.macs_per_cycle.fp64.[key]: input should be 'fp32', 'fp16' or 'int8'"),
        ('usual_mode = "MAXN"', 'usual_mode = "10W"', "hardware.usual_mode: expected one of MAXN, 5W, got '10W'"),
        ('["fp32", "fp16"]', '["fp32"]', "hardware.macs_per_cycle: expected some of precisions (fp32), got fp32, fp"),
        ("cpu_mhz = 918", "cpu_mhz = -1", "hardware.modes.5W.cpu_mhz: input should be greater than 0"),
        ("process_mib = 225", "process_mib = -1", "memory.process_mib: input should be greater than 0"),
        ('(5W)" = "5W"', '(5W)" = "6W"', "published.names: '6W' is no mode of hardware.modes"),
        ("[published.names]", "[publishd.names]", "the file has no key 'publishd'; did you mean 'published'? it has: "),
        ("[memory]", "[memory", "Expected ']' at the end of a table declaration"),
    ],
)
def test_a_fault_is_one_line_that_names_file_key_and_what_came(old, new, line):
    assert TEXT.count(old) == 1
    with pytest.raises(RecipeError) as refused:
        target_from_text("jetson-nano", TEXT.replace(old, new))
    assert f"targets/jetson-nano.toml: {line}" in str(refused.value)


def test_the_tables_of_the_latency_model_go_together():
    head, *tables = TEXT.partition("[hardware]")
    assert target_from_text("b", head).hardware is None
    with pytest.raises(RecipeError, match=r"targets/b.toml: \[published\] goes with \[hardware\]"):
        target_from_text("b", head + '[published.names]\n"B" = ""\n')
    assert target_from_text("b", head + "".join(tables)).hardware.usual_mode == "MAXN"


def test_the_boards_that_people_ask_for():
    assert set(target_names()) == {
        *("jetson-nano", "jetson-nano-2gb", "tx2", "xavier-nx", "agx-xavier", "orin-nano-4gb", "orin-nano-8gb"),
        *("orin-nx-8gb", "orin-nx-16gb", "agx-orin", "thor", "local"),
    }
    assert load_target("orin-nx").name == "orin-nx-8gb"
    assert load_target("orin-nano").name == "orin-nano-4gb"
    assert load_target("jetson-nano").memory_mib == 4096
    with pytest.raises(RecipeError, match="did you mean 'orin-nx-8gb'"):
        load_target("orin-nx-8")


def test_int8_is_where_the_hardware_has_it():
    """Compute capability 6.1 and newer, but not 6.2: as the board itself decides."""
    for target in targets().values():
        if target.release:
            assert ("int8" in target.precisions) == has_int8(target.sm, None), target.name


def test_a_board_that_was_never_measured_says_so():
    silent = {name for name, target in targets().items() if not target.note}
    published = {"agx-orin", "agx-xavier", "jetson-nano", "jetson-nano-2gb", "orin-nano-8gb", "tx2", "xavier-nx"}
    assert silent == {*published, "local"}
    assert load_target("thor").note.startswith("Jetson Thor was never measured here")


def test_each_board_assumes_a_tensorrt_that_a_jetpack_brings_it():
    for name, target in targets().items():
        assert target.tensorrt in (target.possible_tensorrt or [""]), name
    assert tensorrt_of_board("jetson-nano") == ["7.1", "8.0", "8.2"]
    assert load_target("jetson-nano").possible_tensorrt == ["8.2"]
    assert load_target("thor").possible_tensorrt == ["10.16", "11.4"]
    brought = {".".join(row.tensorrt.split(".")[:2]) for row in JETPACKS if row.tensorrt}
    assert set(releases()) <= brought
    assert releases()["10.16"].jetpacks == ("7.2", "7.2.1")


def test_the_table_of_jetpacks_is_one_of_known_releases():
    l4ts = [row.l4t for row in JETPACKS if row.l4t]
    assert len(set(l4ts)) == len(l4ts)
    assert of_l4t("36.4.0").name == of_l4t("36.4").name == "6.1"
    assert of_l4t("36.4.9") is None
    assert described(of_l4t("38.2.0")) == "JetPack 7.0 brings CUDA 13.0, Python 3.12"
    assert all(row.source and row.boards for row in JETPACKS)
    boards = {name for row in JETPACKS for name in row.boards}
    assert all(any(known == name or known.startswith(f"{name}-") for known in target_names()) for name in boards)


def test_the_page_of_boards_is_what_the_data_say():
    root = Path(__file__).parents[3]
    made = subprocess.run([sys.executable, root / "docs/make_boards.py"], capture_output=True, text=True, check=True)
    assert made.stdout == (root / "docs/boards.md").read_text(), "run: python docs/make_boards.py > docs/boards.md"
