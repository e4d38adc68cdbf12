"""What is shown and written while a run goes on."""

import io
import json
import math
from dataclasses import replace
from pathlib import Path
from time import sleep
from types import SimpleNamespace

import pytest
from fake_runs import made
from recipe_values import small_job

from xtrain.recipe.schedules import Reductions
from xtrain.recipe.watch import Watch
from xtrain.runs.progress import Progress, Sums
from xtrain.spec import Metrics
from xtrain.training.observers import EpochRecord, Observer, Start, TrainRecord
from xtrain.training.observers import rate as module
from xtrain.training.observers.curves import Curves
from xtrain.training.observers.metrics import MetricsFile
from xtrain.training.observers.progress import Bar, Lines, progress
from xtrain.training.observers.rate import Rate, clock
from xtrain.training.observers.table import Table


class Stream(io.StringIO):
    """What a process prints to: a terminal or not."""

    def __init__(self, terminal):
        super().__init__()
        self._terminal = terminal

    def isatty(self):
        """Whether somebody looks at it."""
        return self._terminal


EPOCH = EpochRecord(1, 23, 1.25, 0.5, 1.5, 0.4375, 2.04, 0.5)


def shown(terminal, monkeypatch):
    """What a run of two epochs of 23 steps prints."""
    text = Stream(terminal)
    monkeypatch.setattr("sys.stdout", text)
    observer = progress()
    start = Start(small_job(), Path("run"), "fake", "cpu", 0)
    observer.start(start)
    for step in range(1, 24):
        observer.step(step, 64)
        if step % 10 == 0:
            observer.train(TrainRecord(1, step, 2.0 / step, 0.1))
    observer.epoch(EPOCH)
    observer.stop()
    return observer, text.getvalue()


HEADER = [
    "                          train              test",
    "epoch    step     loss accuracy     loss accuracy seconds",
]
ROW = "    1      23   1.2500   0.5000   1.5000   0.4375     2.5 *"


def test_a_pipe_gets_plain_lines(monkeypatch):
    observer, text = shown(False, monkeypatch)
    assert isinstance(observer, Lines)
    *header, first, second, last = text.splitlines()
    assert header == HEADER
    assert first.startswith("    1      10   0.2000  ")
    assert first.endswith(" left")
    assert " images/s, 0:" in second
    assert last == ROW
    assert text.isprintable() or set(text) - {"\n"} == set(filter(str.isprintable, text))


def test_a_terminal_gets_a_bar_and_a_row_for_each_epoch(monkeypatch):
    observer, text = shown(True, monkeypatch)
    assert isinstance(observer, Bar)
    assert "\r" in text
    assert "epoch 1/2, step 0, loss -, - images/s, - left" in text
    assert all(line in text for line in (*HEADER, ROW))


def test_the_row_of_an_epoch_takes_the_place_of_the_record_at_its_end():
    text = io.StringIO()
    observer = Lines(text)
    observer.start(Start(small_job(), None, "fake", "cpu", 0))
    observer.train(TrainRecord(1, 23, 0.5, 0.1))
    assert text.getvalue().splitlines() == HEADER
    observer.start(Start(small_job(loop__log_every=1), None, "fake", "cpu", 0))
    observer.train(TrainRecord(1, 23, 0.5, 0.1))
    assert text.getvalue().splitlines()[-1].startswith("    1      23   0.5000  ")


def test_rows_fit_80_columns_and_stand_below_their_headers():
    job = small_job(data__validation={"fraction": 0.1})
    table = Table(Start(job, None, "fake", "cpu", 0))
    figures = (123456.75, 0.5, 12.5, 1.0, 1234.56, 0.0625)
    record = EpochRecord(99999, 99999999, *figures, val_loss=0.25, val_accuracy=0.75, val_seconds=0.5)
    lines = [*table.header().splitlines(), table.epoch(record)]
    assert lines == [
        "                          train        validation              test",
        "epoch    step     loss accuracy     loss accuracy     loss accuracy seconds",
        "9999999999999 1.23e+05   0.5000   0.2500   0.7500  12.5000   1.0000  1235.1 *",
    ]
    assert max(map(len, lines)) <= 80
    assert len(table.step(TrainRecord(1, 10, 0.5, 0.1), "1,234,567 images/s, 1:00:00 left")) <= 80


def test_the_best_so_far_is_marked_also_of_a_run_that_goes_on():
    def marks(best, **changes):
        table = Table(Start(small_job(**changes), None, "fake", "cpu", 0, best))
        return [table.epoch(replace(EPOCH, **figures)).endswith(" *") for figures in EPOCHS]

    assert marks(None) == [True, False, True, False]
    assert marks(0.5) == [False, False, True, False]
    assert marks(None, loop__monitor="test_loss") == [True, True, False, False]


EPOCHS = (
    {"test_accuracy": 0.5, "test_loss": 1.5},
    {"test_accuracy": 0.5, "test_loss": 1.25},
    {"test_accuracy": 0.75, "test_loss": 1.5},
    {"test_accuracy": 0.625, "test_loss": 1.25},
)


@pytest.mark.parametrize("terminal", [False, True])
def test_a_run_that_never_started_can_be_stopped(terminal, monkeypatch):
    monkeypatch.setattr("sys.stdout", Stream(terminal))
    progress().stop()


def test_time_left_is_short():
    assert [clock(seconds) for seconds in (0, 59.6, 61, 3600, 36_125)] == [
        "0:00",
        "1:00",
        "1:01",
        "1:00:00",
        "10:02:05",
    ]


@pytest.fixture
def now(monkeypatch):
    """The time, which passes when a test says so."""
    time = SimpleNamespace(seconds=100.0)
    monkeypatch.setattr(module.time, "perf_counter", lambda: time.seconds)
    return time


def test_a_rate_counts_from_the_end_of_the_first_step(now):
    rate = Rate()
    now.seconds += 60  # the first step is compiled
    rate.add(64)
    assert (str(rate), rate.left(10)) == ("-", "-")
    for images, seconds in ((64, 0.5), (64, 0.5), (29, 1.0)):  # the last batch of an epoch is short
        now.seconds += seconds
        rate.add(images)
    assert str(rate) == "78"  # 157 images in 2 s
    assert rate.left(90) == "1:00"  # 3 steps in 2 s
    now.seconds += 2  # an evaluation
    assert str(rate) == "39"
    assert rate.left(90) == "2:00"


def test_a_clock_that_stands_still_gives_a_rate(now):
    rate = Rate()
    rate.add(1)
    rate.add(1)
    assert str(rate) == "1,000,000,000"


@pytest.mark.parametrize("terminal", [False, True])
def test_the_rate_and_the_time_left_are_shown(now, terminal, monkeypatch):
    text = Stream(terminal)
    monkeypatch.setattr("sys.stdout", text)
    observer = progress()
    observer.start(Start(small_job(), None, "fake", "cpu", 10))  # resumed at step 10 of 46
    for step in (11, 12):
        now.seconds += 2
        sleep(0.15 if terminal else 0)  # a bar is drawn ten times a second at most
        observer.step(step, 64)
    observer.train(TrainRecord(1, 12, 0.5, 0.1))
    observer.stop()
    assert "32 images/s" in text.getvalue()
    if not terminal:
        assert text.getvalue().splitlines()[-1] == "    1      12   0.5000  32 images/s, 1:08 left"


def test_records_are_lines_of_json(tmp_path):
    run = made(tmp_path / "run", small_job())
    path = run.metrics_path
    for _ in range(2):  # a second session appends
        observer = MetricsFile(run)
        observer.train(TrainRecord(1, 10, 0.1 + 0.2, 0.1))
        assert path.read_text().endswith("}\n")  # handed to the system at once
        observer.epoch(EPOCH)
        observer.stop()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines[0] == {"kind": "train", "epoch": 1, "step": 10, "loss": 0.1 + 0.2, "lr": 0.1}
    assert (lines[1]["kind"], lines[1]["test_seconds"]) == ("epoch", 0.5)
    assert lines[2:] == lines[:2]


def test_curves_are_drawn_where_there_is_something_to_draw(tmp_path):
    run = made(tmp_path / "run", small_job())
    Curves(run).stop()
    assert not (run.path / "curves.png").exists()
    metrics = MetricsFile(run)
    metrics.train(TrainRecord(1, 10, 0.5, 0.1))
    metrics.epoch(EPOCH)
    metrics.stop()
    Curves(run).stop()
    assert (run.path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_an_observer_may_look_at_nothing():
    observer = Observer()
    observer.start(None)
    observer.step(1, 64)
    observer.train(None)
    observer.epoch(EPOCH)
    observer.stop()


def test_sums_are_means_over_samples():
    sums = Sums()
    assert math.isnan(sums.loss)
    assert math.isnan(sums.accuracy)
    sums.add(Metrics(6.0, 1), count=4, weight=4.0)
    sums.add(Metrics(2.0, 2), count=1, weight=1.0)
    assert (sums.loss, sums.accuracy) == (1.6, 0.6)
    sums.add(Metrics(2.0, 0), count=5, weight=0.0)  # by class weights these weigh nothing
    assert (sums.loss, sums.accuracy) == (2.0, 0.3)


def test_progress_keeps_every_bit_through_json():
    sums = Sums(0.1 + 0.2, 3, 64, 0.7), Sums(1 / 3, 1, 2, 2.0)
    plateau = Reductions(1 / 7, 2, 3, 1)
    before = Progress(3, 70, 1, *sums, 2 / 3, Watch(0.9, 1), 46, Watch(1 / 9, 4), plateau, restored=True)
    assert Progress.from_dict(json.loads(json.dumps(before.to_dict()))) == before
