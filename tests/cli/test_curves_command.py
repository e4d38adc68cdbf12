"""`xtrain curves`: what each run is called, where the legend lies, and what is never overwritten."""

import json
import shutil

import pytest

from xtrain.recipe import load_recipe
from xtrain.runs.picture import figure_of, labels
from xtrain.runs.run import Run


@pytest.fixture
def made(tmp_path):
    """A run of three epochs; `call` stands in the folder that it is made in."""

    def make(path, name="digits_mlp", backend="numpy", seed=0):
        job = load_recipe(name, {"seed": seed}).bind()
        with Run.created(tmp_path / path, job, "", {"backend": backend}, {"backend": backend}) as run:
            pass
        records = [{"kind": "train", "epoch": 1, "step": step, "loss": 2 / step} for step in range(1, 10)]
        for epoch in (1, 2, 3):
            figures = {"train_loss": 2 / epoch, "test_loss": 2 / epoch, "test_accuracy": 1 - 0.5 / epoch}
            records.append({"kind": "epoch", "epoch": epoch, "step": 3 * epoch, **figures})
        run.metrics_path.write_text("".join(json.dumps(record) + "\n" for record in records))
        return run

    return make


def test_one_run_is_called_by_its_title(made):
    assert labels([made("a")]) == ("digits_mlp under numpy", [""])


def test_runs_are_called_by_what_differs(made):
    one = made("one")
    assert labels([one, made("b", backend="torch")]) == ("digits_mlp", ["under numpy", "under torch"])
    assert labels([one, made("c", seed=3)]) == ("digits_mlp under numpy", ["seed 0", "seed 3"])
    other = made("d", name="digits_cnn")
    assert labels([one, other]) == ("under numpy", ["digits_mlp", "digits_cnn"])
    every = made("e", name="digits_cnn", backend="torch", seed=1)
    assert labels([one, every]) == (
        "2 runs",
        ["digits_mlp, under numpy, seed 0", "digits_cnn, under torch, seed 1"],
    )


def test_runs_that_differ_by_nothing_else_are_called_by_their_directory(made):
    assert labels([made("a"), made("b")]) == ("digits_mlp under numpy", ["a", "b"])
    runs = [made("c"), made("d"), made("e", backend="torch")]
    assert labels(runs) == ("digits_mlp", ["under numpy, c", "under numpy, d", "under torch, e"])


def test_directories_of_one_name_are_called_by_their_paths(made):
    runs = [made("a/run"), made("b/run")]
    assert labels(runs)[1] == [str(run.path) for run in runs]


@pytest.mark.parametrize("count", [1, 2, 11, 30])
def test_every_run_has_a_label_and_a_colour_and_the_legends_hide_nothing(made, count):
    name = "a-backend-with-a-rather-long-name"
    figure = figure_of([made(f"run-{place}", backend=name, seed=place) for place in range(count)])
    figure.canvas.draw()
    styles, *names = figure.legends
    assert [text.get_text() for text in styles.get_texts()] == ["train", "test"]
    for legend in names:
        assert [text.get_text() for text in legend.get_texts()] == [f"seed {place}" for place in range(count)]
        assert len({line.get_color() for line in legend.get_lines()}) == count
    assert len(names) == (count > 1)
    for legend in figure.legends:
        box = legend.get_window_extent()
        assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= box.y0 < box.y1 <= figure.bbox.y1
        for axes in figure.axes:
            assert not box.overlaps(axes.get_tightbbox())
    for axes in figure.axes:
        assert axes.get_window_extent().height > 200


def test_a_picture_is_written_and_nothing_beside_it(made, call):
    made("a"), made("b")
    done = call("curves", "a", "b")
    assert (done.code, done.out) == (0, "curves.png\n"), done.err
    folder = made("c").path.parent
    assert {path.name for path in folder.iterdir()} == {"a", "b", "c", "curves.png"}
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_what_is_there_is_replaced_with_force_alone(made, call):
    there = made("a").path.parent / "mine.svg"
    there.write_text("mine")
    done = call("curves", "a", "--out", "mine.svg")
    assert done.code == 2
    assert "mine.svg: exists\n  choose another --out, or replace it with --force" in done.err
    assert there.read_text() == "mine"
    assert call("curves", "a", "--out", "mine.svg", "--force").code == 0
    assert "<svg" in there.read_text()


@pytest.mark.parametrize(
    ("out", "code", "said"),
    [
        ("x.doc", 2, "x.doc: can't be written: Format 'doc' is not supported"),
        ("nowhere/x.png", 1, "nowhere/x.png: can't be written: No such file or directory"),
    ],
)
def test_what_cannot_be_written_is_told(made, call, out, code, said):
    folder = made("a").path.parent
    done = call("curves", "a", "--out", out)
    assert done.code == code
    assert said in done.err
    assert {path.name for path in folder.iterdir()} == {"a"}


def test_what_is_no_run_is_told(made, call):
    run = made("a")
    shutil.rmtree(run.path)
    assert "is not a run directory" in call("curves", "a").err
    made("a").metrics_path.unlink()
    assert "a: has no records yet" in call("curves", "a").err
