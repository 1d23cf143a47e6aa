"""What the predictor takes from the boards' TOMLs, against data sheets and against hand-made counts."""

import re
import tomllib
from dataclasses import replace
from importlib import resources

import pytest

from edgedistill.cli.main import main
from edgedistill.config.target import load_target, target_from_text, targets
from edgedistill.errors import RecipeError
from edgedistill.prediction import latency
from edgedistill.prediction.choose import choose
from edgedistill.prediction.features import Features, catalogue
from edgedistill.prediction.fitting import catalogue as counting
from edgedistill.prediction.fitting import fit as fitting
from edgedistill.prediction.fitting import report
from edgedistill.prediction.latency import hardware, mode_of
from edgedistill.prediction.memory import memory_of
from edgedistill.prediction.model import Question, predict, prediction_of
from edgedistill.prediction.user_measurements import NOTHING
from end_to_end import ROOT

PACKAGE = ROOT / "edgedistill" / "prediction"
BOARDS = (
    "agx-orin",
    "agx-xavier",
    "jetson-nano",
    "jetson-nano-2gb",
    "orin-nano-8gb",
    "orin-nx-16gb",
    "orin-nx-8gb",
    "tx2",
    "xavier-nx",
)
# NVIDIA's data sheets: dense tera-operations a second of the GPU (two for a multiply-accumulate), GB/s.
DATA_SHEETS = (
    ("jetson-nano", "MAXN", "fp16", 0.472, 25.6),
    ("tx2", "MAXN", "fp16", 1.33, 59.7),
    ("xavier-nx", "MODE_20W_6CORE", "fp16", 6.8, 59.7),
    ("agx-xavier", "MAXN", "fp16", 11, 137),
    ("agx-xavier", "MAXN", "int8", 22, 137),
    ("orin-nano-8gb", "MAXN_SUPER", "int8", 33.5, 102),
    ("orin-nano-8gb", "MAXN_SUPER", "fp16", 16.75, 102),
    ("agx-orin", "MAXN", "int8", 85, 204.8),
)


def test_nine_boards_are_predicted():
    assert sorted(hardware()) == sorted(BOARDS)


@pytest.mark.parametrize(("target", "mode", "precision", "tera", "gigabytes"), DATA_SHEETS)
def test_a_mode_gives_what_the_data_sheet_says(target, mode, precision, tera, gigabytes):
    board = hardware()[target]
    assert 2 * board.macs_per_ms(mode, precision) * 1e3 / 1e12 == pytest.approx(tera, rel=0.03)
    assert board.bytes_per_ms(mode) * 1e3 / 1e9 == pytest.approx(gigabytes, rel=0.02)


@pytest.mark.parametrize("target", BOARDS)
def test_modes_are_those_of_the_file(target):
    text = (resources.files("edgedistill.config") / "targets" / f"{target}.toml").read_text("utf-8")
    table, board = tomllib.loads(text)["hardware"], hardware()[target]
    assert list(board.modes) == list(table["modes"])
    for name, written in table["modes"].items():
        read = board.modes[name]
        assert [read.gpu_mhz, read.emc_mhz, read.cpu_mhz] == [written[f"{part}_mhz"] for part in ("gpu", "emc", "cpu")]
        active = written.get("multiprocessors", table["multiprocessors"])
        for precision, rate in table["macs_per_cycle"].items():
            assert board.macs_per_ms(name, precision) == pytest.approx(rate * active * written["gpu_mhz"] * 1000)
        cycles = table["cores_per_multiprocessor"] * active * written["gpu_mhz"] * 1000
        assert board.core_cycles_per_ms(name) == pytest.approx(cycles)


@pytest.mark.parametrize(
    ("target", "named", "meant"),
    [
        ("agx-xavier", "30W", "MODE_30W_ALL"),
        ("agx-xavier", "mode_15w_desktop", "MODE_15W_DESKTOP"),
        ("agx-xavier", "15W", "MODE_15W"),
        ("orin-nano-8gb", "15w", "15W"),
        ("orin-nano-8gb", None, "MAXN_SUPER"),
        ("jetson-nano", None, "MAXN"),
        ("tx2", "MAX-Q", "MAXQ"),
    ],
)
def test_a_mode_is_found_by_the_name_that_people_use(target, named, meant):
    assert mode_of(target, named) == meant


@pytest.mark.parametrize("named", ["7W", "", "MODE_", "MAXN_SUPER"])
def test_an_unknown_mode_is_refused_in_one_line(named):
    line = f"jetson-nano has no power mode {named!r}; it has: MAXN, 5W"
    with pytest.raises(RecipeError, match=re.escape(line)):
        mode_of("jetson-nano", named)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"usual_mode": '"15W"'}, "usual_mode: expected one of MAXN, got '15W'"),
        ({"tensor_precisions": '["int8"]'}, "expected some of fp16, got 'int8'"),
        ({"macs_per_cycle": "{ int8 = 1 }"}, r"expected some of precisions \(fp16\), got int8"),
        ({"modes": "{ MAXN = { gpu_mhz = 0, emc_mhz = 1, cpu_mhz = 1 } }"}, "greater than 0"),
        ({"modes": "{}"}, "modes"),
    ],
)
def test_a_board_s_file_that_contradicts_itself_is_refused(changed, said):
    keys = {
        "family": '"maxwell"',
        "multiprocessors": "1",
        "cores_per_multiprocessor": "128",
        "macs_per_cycle": "{ fp16 = 256 }",
        "bytes_per_emc_cycle": "16",
        "usual_mode": '"MAXN"',
        "modes": "{ MAXN = { gpu_mhz = 900, emc_mhz = 1600, cpu_mhz = 1400 } }",
    }
    head = 'title = "B"\ntensorrt = "8.2"\nsm = 53\nprecisions = ["fp16"]\nmemory_mib = 1\n[hardware]\n'

    def text(values):
        return head + "".join(f"{key} = {value}\n" for key, value in values.items())

    assert target_from_text("b", text(keys)).hardware.usual_mode == "MAXN"
    with pytest.raises(RecipeError, match=said):
        target_from_text("b", text({**keys, **changed}))
    with pytest.raises(RecipeError, match="'5W' is no mode of hardware.modes"):
        target_from_text("b", text(keys) + '[published.names]\n"Board" = "5W"\n')


def test_a_published_name_is_of_one_board():
    names = [name for target in targets().values() if target.published for name in target.published.names]
    assert len(set(names)) == len(names) >= 18


@pytest.mark.parametrize("target", [name for name, board in targets().items() if board.hardware is None])
def test_a_board_without_the_tables_is_not_predicted_and_says_so(target):
    line = f"no prediction for {target}: no usable measurement of its kind of chip is published; there is one for agx-"
    with pytest.raises(RecipeError, match=line):
        predict("resnet18", target)
    with pytest.raises(RecipeError, match=line):
        choose(target)
    counted = catalogue()[("resnet18", 224)]
    assert memory_of(counted[max(counted)], target, "fp16").lean is None


def test_a_board_that_was_never_fitted_says_what_to_run(monkeypatch):
    without = {name: entry for name, entry in latency.stored()["boards"].items() if name == "orin-nano-8gb"}
    monkeypatch.setattr(latency, "stored", lambda: {"boards": without})
    with pytest.raises(RecipeError) as refused:
        predict("resnet18", "jetson-nano")
    assert "no prediction for jetson-nano: its constants were never fitted (docs/extend.md" in str(refused.value)
    assert str(refused.value).endswith("there is one for orin-nano-8gb")


def test_memory_by_hand():
    """TensorRT's log on a Nano: CUDA 225, cuBLAS 156 and cuDNN 241 MiB; an engine of 19 MiB for 14 MiB of weights."""
    features = Features(*[0.0] * 9, parameters=14 * 2**20, peak=3 * 2**20)
    found = memory_of(features, "jetson-nano", "fp32")
    assert found.network == pytest.approx(4 * 19 + 4 * 4 * 3)
    assert found.lean == pytest.approx(225 + 124)
    assert found.full == pytest.approx(225 + 156 + 241 + 124)
    assert memory_of(features, "jetson-nano", "fp16").network == pytest.approx(124 / 2)
    assert load_target("jetson-nano").memory.libraries_mib == 156 + 241


def taking(mib):
    """A network whose engine and context take so many MiB in FP16."""
    return replace(catalogue()[("resnet18", 224)][1000], parameters=0.0, peak=mib * 2**20 / 8)


def test_a_network_beyond_the_boards_memory_has_no_speed(capsys):
    """225 MiB of process and 397 of libraries beside it, of 4096 on a Nano."""
    board, question = load_target("jetson-nano"), Question("n", "jetson-nano", "MAXN", "fp16", "fp16")
    room = board.memory_mib - board.memory.process_mib
    spacious, tight, beyond = (
        prediction_of(taking(mib), question, NOTHING) for mib in (room - 398, room - 396, room + 1)
    )
    assert (spacious.beyond_board, tight.beyond_board) == ("", "")
    assert not [note for note in spacious.notes if "cuDNN" in note]
    assert [note for note in tight.notes if "about 4097 MiB, Jetson Nano 4GB has 4096 in all" in note]
    assert "4097 MiB, Jetson Nano 4GB has 4096 in all" in beyond.beyond_board
    assert not [note for note in beyond.notes if "cuDNN" in note]

    assert main(["estimate", "mobilenetv2_100", "--batch", "256"]) == 0
    assert main(["estimate", "mobilenetv2_100", "--batch", "512"]) == 1
    said = capsys.readouterr()
    assert "has 4096 in all (estimate), so it has no speed there; take fewer images at once" in said.err
    assert said.err.count("\n") == 1
    assert main(["estimate", "mobilenetv2_100", "--batch", "512", "--target", "agx-xavier"]) == 0


def test_where_the_libraries_are_not_published_engine_and_context_count(capsys):
    assert main(["estimate", "mobilenetv2_100", "--batch", "1024", "--target", "orin-nano-8gb"]) == 1
    assert "engine and context would take about 11769 MiB" in capsys.readouterr().err


def test_no_student_fits_that_is_beyond_the_boards_memory(monkeypatch):
    big = {key: {classes: taking(5000) for classes in rows} for key, rows in catalogue().items()}
    assert choose("jetson-nano")[0].tier == 0
    monkeypatch.setattr("edgedistill.prediction.choose.catalogue", lambda: big)
    assert {candidate.tier for candidate in choose("jetson-nano")} == {2}


def test_the_commands_of_maintainers_write_into_the_current_folder_or_where_they_are_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(report, "validated", lambda: ([], fitting.Fit({}, {}), {"network": []}))
    monkeypatch.setattr(report, "stored_of", lambda rows, fitted, by: {})
    monkeypatch.setattr(report, "tables", lambda stored: [])
    monkeypatch.setattr(counting, "wanted", dict)
    (tmp_path / "other").mkdir()
    for command, name in ((fitting.main, "constants.json"), (counting.main, "features.csv")):
        for words, path in (([], name), (["--output", f"other/{name}"], f"other/{name}")):
            before = (PACKAGE / name).read_bytes()
            command(words)
            made = (tmp_path / path).read_text("utf-8")
            assert made.startswith("{" if name.endswith("json") else "network,image_px,classes,")
            assert (PACKAGE / name).read_bytes() == before
