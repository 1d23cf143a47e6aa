"""What a helper tells: to scripts as the run's own events, to people as lines."""

import io
import threading

import pytest
from rich.console import Console

from edgedistill.progress import reporter
from edgedistill.progress.reporter import Talk
from edgedistill.progress.rich_view import LiveView

PROGRESS = {
    "event": "progress",
    "time_s": 3.0,
    "stage": "distill",
    "title": "distill seed 1",
    "done": 140,
    "total": 528,
    "unit": "step",
    "epoch": 3,
    "epochs": 11,
    "images_per_second": 312.4,
    "seconds_left": 41.2,
    "train_loss": 0.5,
    "terms": {"kd": 0.5},
}
EPOCH = {
    "event": "epoch",
    "time_s": 4.0,
    "stage": "distill",
    "title": "distill seed 1",
    "epoch": 3,
    "epochs": 11,
    "terms": {"kd": 0.25, "label": 1.5},
    "eval_top1_fraction": 0.75,
    "eval_balanced_accuracy_fraction": 0.5,
    "metric": "balanced_accuracy_fraction",
    "best": 0.6,
    "best_epoch": 2,
}
EPOCH_LINE = "  distill seed 1: epoch 3/11: kd 0.250, label 1.500, validation top-1 0.750, balanced 0.500"
MESSAGE = {"event": "message", "time_s": 1.0, "stage": "distill", "text": "distill: went back"}
CACHING = {**PROGRESS, "epoch": None, "epochs": None}


def test_scripts_get_them_with_the_time_of_the_run():
    told = []
    talk = Talk(quiet=True, tell=told.append)
    for event in (PROGRESS, EPOCH, MESSAGE):
        talk.forward(event)
    assert [{**event, "time_s": None} for event in told] == [
        {**event, "time_s": None} for event in (PROGRESS, EPOCH, MESSAGE)
    ]
    assert all(0 <= event["time_s"] < 1 for event in told)


def test_they_are_told_in_the_thread_of_the_run_before_its_own_next_event():
    told = []
    talk = Talk(quiet=True, tell=lambda event: told.append((event["event"], threading.get_ident())))
    thread = threading.Thread(target=talk.heard_beside, args=(EPOCH,))
    thread.start()
    thread.join()
    assert told == []
    talk.event("message", text="own")
    assert told == [("epoch", threading.get_ident()), ("message", threading.get_ident())]


def test_a_callback_that_fails_of_them_ends_the_work_as_of_an_own_event():
    def fails(event):
        raise ValueError("full")

    talk = Talk(quiet=True, tell=fails)
    with talk.progress("distill", 2) as work:
        talk.heard_beside(EPOCH)
        with pytest.raises(ValueError, match="full"):
            work(1)


def test_a_log_has_their_epochs_and_messages(capsys, monkeypatch):
    monkeypatch.setattr(reporter, "is_terminal", lambda stream: False)
    talk = Talk()
    for event in (PROGRESS, CACHING, EPOCH, MESSAGE):
        talk.forward(event)
    assert capsys.readouterr().err.splitlines() == [EPOCH_LINE, "  distill: went back"]


@pytest.fixture
def live():
    view = LiveView()
    view._console = Console(file=io.StringIO(), width=100, force_terminal=False)
    return view


def seen(view):
    with view._console.capture() as capture:
        view._console.print(view._picture())
    return capture.get()


def test_the_live_view_has_a_line_for_each_until_its_end(live):
    talk = Talk(quiet=True)
    talk._view = live
    with live.stage("[4/12] baseline"):
        talk.forward(CACHING)
        assert "beside" not in seen(live)
        talk.forward(PROGRESS)
        talk.forward({**PROGRESS, "title": "baseline", "images_per_second": None, "seconds_left": None})
        assert "  beside it distill seed 1: epoch 3/11, step 140/528, 312 images/s, 41 s left\n" in seen(live)
        assert "  beside it baseline: epoch 3/11, step 140/528\n" in seen(live)
        talk.forward({**PROGRESS, "done": 528})
        assert "distill seed 1" not in seen(live)
    assert "beside" not in seen(live)


def test_of_epochs_only_the_last_stays_on_a_terminal(live):
    talk = Talk(quiet=True)
    talk._view = live
    talk.forward(EPOCH)
    assert live._console.file.getvalue() == ""
    talk.forward({**EPOCH, "epoch": 11})
    assert "distill seed 1: epoch 11/11" in live._console.file.getvalue()
