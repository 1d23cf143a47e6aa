"""What people and scripts are told while the images are read."""

from edgedistill.config.data import DataConfig
from edgedistill.data.scan import scan
from edgedistill.progress.reporter import Talk
from end_to_end import write_images


def test_the_images_that_are_read_are_counted_to_the_end(tmp_path):
    write_images(tmp_path / "d", per_class=4)
    (tmp_path / "d" / "disc" / "broken.png").write_bytes(b"no image")
    told = []
    found = scan(DataConfig(train=str(tmp_path / "d")), talk=Talk(quiet=True, tell=told.append))
    assert (len(found.items), len(found.unreadable)) == (12, 1)
    last = [event for event in told if event["event"] == "progress"][-1]
    assert (last["title"], last["done"], last["total"]) == ("reading images", 13, 13)
    assert last["images_per_second"] > 0
    assert last["seconds_left"] == 0
