"""What the bench makes of its figures, and what it refuses to compare."""

import json

import pytest

from xtrain.bench import chart, native
from xtrain.bench import trial as module
from xtrain.bench.bench import Result
from xtrain.bench.native import Loop
from xtrain.bench.trial import Limit, Stopwatch, Trial
from xtrain.errors import UsageError
from xtrain.recipe import load_recipe


def trial(seconds):
    return Trial(steps=10, samples=64, seconds=seconds)


@pytest.fixture
def result():
    return Result({"numpy": [trial(1.0), trial(3.0), trial(2.0)]}, {"by hand": [trial(2.0)] * 3})


def test_a_trial_knows_its_rate():
    assert trial(2.0).rate == 320
    assert trial(2.0).step == 0.2


def test_a_ratio_is_of_trials_that_ran_side_by_side(result):
    ratio = result.ratio("numpy", "by hand")
    assert (ratio.lowest, ratio.median, ratio.highest) == pytest.approx((0.5, 1.0, 1.5))


def test_every_trial_is_kept(result):
    kept = json.loads(json.dumps(result.to_dict()))
    assert [one["seconds"] for one in kept["trials"]["xtrain"]["numpy"]] == [1.0, 3.0, 2.0]
    assert kept["ratios"]["numpy / by hand"]["median"] == 1.0


def test_the_chart_has_a_bar_for_each(result):
    [axes] = chart.figure_of("a title", result).axes
    assert axes.get_title() == "a title"
    assert [label.get_text() for label in axes.get_yticklabels()] == ["xtrain numpy", "by hand"]
    assert [bar.get_width() for bar in axes.patches] == [320, 320]  # the median, in images a second
    assert [text.get_text().strip() for text in axes.texts] == ["320", "320"]
    [lines] = axes.collections
    spans = [sorted(segment[:, 0]) for segment in lines.get_segments()]
    assert spans == [pytest.approx([640 / 3, 640]), [320, 320]]


def test_the_chart_is_a_picture(result, tmp_path):
    chart.save("a title", result, tmp_path / "bench.png")
    assert (tmp_path / "bench.png").read_bytes()[1:4] == b"PNG"


def test_a_stopwatch_ends_by_steps_or_by_time():
    by_steps, by_time = Stopwatch(Limit(steps=1)), Stopwatch(Limit(steps=5, seconds=0))
    assert not by_steps.over()
    by_steps.steps += 1
    assert by_steps.over()
    assert by_time.over()


def test_a_stopwatch_counts_what_happens_inside(monkeypatch):
    times = [10.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: times[0])
    watch = Stopwatch(Limit())
    for part, inside, after in (("input", 1.0, 0.25), ("step", 4.0, 0.25), ("input", 2.0, 8.0)):
        with watch.spending(part):
            times[0] += inside
        times[0] += after
    assert watch.spent == {"input": 3.0, "step": 4.0}
    assert watch.seconds == 7.5  # to the end of the last of them


def test_native_is_both_styles_of_every_backend_that_has_a_script():
    found = native.chosen(["native"], load_recipe("mnist_mlp"), ["torch", "numpy", "paddle"])
    assert found == [
        Loop(script, style) for script in ("torch", "paddle") for style in ("tutorial", "resident")
    ]


def test_a_loop_is_named_by_style_or_by_script():
    recipe = load_recipe("mnist_mlp")
    assert native.chosen(["resident"], recipe, ["mindspore"]) == [Loop("mindspore", "resident")]
    assert native.chosen(["lightning"], recipe, []) == [Loop("lightning", "resident")]


def test_an_unknown_loop_is_refused():
    with pytest.raises(UsageError, match="residents") as refused:
        native.chosen(["residents"], load_recipe("mnist_mlp"), ["torch"])
    assert "resident" in str(refused.value.remedy)


@pytest.mark.parametrize(("name", "changes"), [("digits_mlp", {}), ("mnist_mlp", {"data.batch_size": 128})])
def test_only_what_was_written_by_hand_is_compared(name, changes):
    with pytest.raises(UsageError, match="by hand"):
        native.chosen(["native"], load_recipe(name, changes), ["torch"])
