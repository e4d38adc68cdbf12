"""Whatever stands in a run's files, what is said of it is xtrain's own error, and nothing is written."""

import copy
import json
import os
from itertools import count

import pytest
from fake_runs import bound, few, recipe
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plugin_folder import install_fake

from xtrain.cli.run_command import closing
from xtrain.errors import XtrainError
from xtrain.runs import picture
from xtrain.runs.binding import digest
from xtrain.runs.run import Run
from xtrain.training import session
from xtrain.training.assembly import Options, chosen
from xtrain.training.observers import curves

_TURN = count()
CHOSEN = recipe(loop__checkpoint_every=4, loop__log_every=3, loop__keep_last="all", loop__epochs=1)
ODD = [
    None,
    True,
    -1,
    0,
    2**70,
    1e300,
    float("nan"),
    "",
    "x",
    "\ud800",
    [],
    [[]],
    [{}],
    {},
    {"x": 1},
    "a" * 5000,
]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run that ended, over the fake backend."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(install_fake(tmp_path_factory.mktemp("plugin")))
        few(patch)
        patch.setattr(os, "fsync", lambda handle: None)  # thousands of them say nothing here
        patch.setattr(curves, "draw", lambda runs, path: None)
        yield session.train(bound(CHOSEN), Options("fake"), tmp_path_factory.mktemp("runs") / "run").run


def asked(path):
    """Ask for all that is read of a run; how many of the questions were refused."""
    run, refused = Run(path), 0
    questions = (
        lambda: run.job,
        lambda: run.sessions,
        lambda: run.history,
        lambda: chosen(Options(), run),
        lambda: picture.figure_of([run, run]),
        lambda: closing(run),
        run._repr_html_,
        lambda: run.frame("train"),
        lambda: run.load("last", bound(CHOSEN).model),
        lambda: session.evaluate_run(run, "last", Options("fake")),
        lambda: session.resume(run, "step-4", Options("fake"), run.job),
    )
    for question in questions:
        try:
            question()
        except XtrainError as error:
            str(error).encode()  # it can be shown
            refused += 1
    return refused


def places(value, path=()):
    """Where something stands in plain values."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


def changed(value, path, new):
    """With another value there, or without it."""
    value = copy.deepcopy(value)
    if not path:
        return new
    table = value
    for key in path[:-1]:
        table = table[key]
    if new == "gone":
        del table[path[-1]]
    else:
        table[path[-1]] = new
    return value


def odd(place):
    """What may stand there instead: anything at the top, below it two in turn."""
    return ["gone", *(ODD if len(place) < 2 else [ODD[(next(_TURN) * 5) % len(ODD)] for _ in range(2)])]


class Files:
    """The files of a run, put back after each example."""

    def __init__(self, run):
        self.kept = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
        self.run = run

    def __enter__(self):
        return self

    def __exit__(self, *error):
        for path in self.run.path.rglob("*"):
            if path.is_file() and path not in self.kept:
                path.unlink()
        for path, content in self.kept.items():
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)


def test_every_value_of_run_json_may_be_of_any_kind(run):
    files, path = Files(run), run.path / "run.json"
    about = json.loads(path.read_text())
    refused = 0
    skipped = ("versions", "environment", "notes", "host", "command")  # which nothing reads
    for place in [place for place in places(about) if not set(place) & set(skipped)]:
        for new in odd(place):
            if place or new != "gone":
                with files:
                    path.write_text(json.dumps(changed(about, place, new)))
                    refused += asked(run.path) > 0
    assert refused > 200


def test_every_value_of_a_checkpoint_may_be_of_any_kind(run):
    files, path = Files(run), run.checkpoint() / "progress.json"
    record = json.loads(path.read_text())
    refused = 0
    for place in places(record):
        for new in odd(place):
            if not place and new == "gone":
                continue
            forged = changed(record, place, new)
            if isinstance(forged, dict) and isinstance(forged.get("sha256"), dict) and "sha256" not in place:
                for key in ("progress", "bound"):  # with its hashes
                    forged["sha256"][key] = digest(forged.get(key))
            with files:
                path.write_text(json.dumps(forged))
                refused += asked(run.path) > 0
    assert refused > 150


@pytest.mark.parametrize("kind", ["train", "epoch"])
def test_every_value_of_a_record_may_be_of_any_kind(kind, run):
    files, path = Files(run), run.metrics_path
    records = run.history
    number = next(place for place, record in enumerate(records) if record["kind"] == kind)
    refused = 0
    for place in places(records[number]):
        for new in ["gone", *ODD]:
            if place or new != "gone":
                lines = [*records[:number], changed(records[number], place, new), *records[number + 1 :]]
                with files:
                    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
                    refused += asked(run.path) > 0
    assert refused > 60


CONTENTS = {
    "empty": b"",
    "not JSON": b"{",
    "not UTF-8": b'{"sessions": ["\xff\xfe"]}',
    "deep": b"[" * 100_000,
    "deep and closed": b'{"sessions": ' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    "a deep table": b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    "half a surrogate": b'{"sessions": [], "name": "\\ud800"}',
    "a number of many digits": b'{"sessions": [' + b"9" * 10_000 + b"]}",
    "zeros": bytes(1000),
    "a list": b"[]",
    "a number": b"1e999",
}


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
@pytest.mark.parametrize("name", ["run.json", "recipe.toml", "metrics.jsonl", "progress.json"])
def test_what_is_no_such_file_is_told_with_its_name(name, content, run):
    path = (run.checkpoints / "step-6" if name == "progress.json" else run.path) / name
    with Files(run):
        path.write_bytes(content)
        with pytest.raises(XtrainError) as caught:
            session.resume(run, "step-6", Options("fake"), run.job_with({"loop.epochs": 2}))
        said = path.parent if name == "progress.json" else path
        assert str(caught.value).startswith(f"{said}: ")
        assert len(str(caught.value)) < 1000
        assert "Error(" not in str(caught.value)


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_bytes_anywhere(data, run):
    files = Files(run)
    path = data.draw(st.sampled_from(sorted(files.kept)))
    content = bytearray(files.kept[path])
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, max(0, len(content) - 1)))
        length = data.draw(st.integers(0, 20))
        content[place : place + length] = data.draw(st.binary(max_size=20))
    with files:
        path.write_bytes(content)
        asked(run.path)
