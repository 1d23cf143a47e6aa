"""A board is one TOML: what its optional tables must say, and the line that a fault gives."""

from importlib import resources

import pytest

from edgedistill.config.target import load_target, target_from_text, target_names, targets
from edgedistill.errors import RecipeError

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
        ("bandwidth_gb_per_s", "bandwith_gb_per_s", "[hardware] has no key 'bandwith_gb_per_s'; did you mean 'bandw"),
        ("bandwidth_gb_per_s = 25.6", "bandwidth_gb_per_s = 0", "hardware.bandwidth_gb_per_s: input should be gr"),
        ("fp32 = 118", "fp64 = 118", "hardware.peak_gmacs_per_s.fp64.[key]: input should be 'fp32', 'fp16' or 'int8'"),
        ('other = "fp32"', 'other = "int8"', "hardware.reference and hardware.other must be the two precisions"),
        ('["fp32", "fp16"]', '["fp32"]', "hardware.peak_gmacs_per_s: expected some of precisions (fp32), got fp32, fp"),
        ("process_mib = 260", "process_mib = -1", "memory.process_mib: input should be greater than 0"),
        ('names = ["Jetson Nano 4GB (Maxwell sm_53)"]', "names = []", "published.names: "),
        ("[prior]", "[prio]", "the file has no key 'prio'; did you mean 'prior'? it has: "),
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
    with pytest.raises(
        RecipeError, match=r"targets/b.toml: \[hardware\], \[published\] and \[prior\] go together, got"
    ):
        target_from_text("b", head + '[published]\nnames = ["B"]\n')
    assert target_from_text("b", head + "".join(tables)).hardware.other == "fp32"
