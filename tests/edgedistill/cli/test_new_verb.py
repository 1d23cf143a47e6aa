"""`edgedistill new` ends with 0 only where the run that it names next can start on these images."""

import pytest

from edgedistill.cli.main import main
from end_to_end import write_images


@pytest.mark.parametrize(
    ("lonely", "code", "line"),
    [(20, 0, "wrote r.toml; next: edgedistill run r.toml"), (1, 1, "wrote r.toml; mend what stops the run, then:")],
)
def test_images_that_stop_the_run_end_with_1(tmp_path, monkeypatch, capsys, lonely, code, line):
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path / "images", per_class=20)
    for path in sorted((tmp_path / "images" / "disc").iterdir())[lonely:]:
        path.unlink()
    assert main(["new", "--train", "images", "r.toml"]) == code
    said = capsys.readouterr().out
    assert line in said
    assert ("REFUSED: the run will stop at this: class 'disc' has 1 image" in said) == bool(code)
    assert (tmp_path / "r.toml").exists()


def test_an_image_under_two_labels_ends_with_1(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path / "images", per_class=20)
    twice = (tmp_path / "images" / "disc" / "000.png").read_bytes()
    (tmp_path / "images" / "square" / "twice.png").write_bytes(twice)
    assert main(["new", "--train", "images", "r.toml"]) == 1
    assert "CONFLICT: 1 image under two labels" in capsys.readouterr().out
