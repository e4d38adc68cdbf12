"""A run that is stopped anywhere and resumed is the run that was left alone, to the bit."""

from dataclasses import asdict

import pytest
from fake_runs import Training, recipe
from test_checkpoint import same

from xtrain.runs import checkpoint as checkpoints

AUGMENT = [{"op": "random_crop", "size": 8, "padding": 2}, {"op": "random_horizontal_flip"}]


def chosen(log_every):
    return recipe(loop__checkpoint_every=1, loop__log_every=log_every, data__augment=AUGMENT, seed=11)


def figures(records):
    """Without the seconds, which are never the same."""
    return [{k: v for k, v in asdict(record).items() if "seconds" not in k} for record in records]


@pytest.fixture(scope="module", params=[1, 4, 100])
def alone(request):
    """A run left alone, with a checkpoint after each step."""
    training = Training(chosen(request.param))
    assert training.run()
    assert training.steps_saved() == list(range(1, 19))
    return request.param, training


@pytest.mark.parametrize("step", range(1, 19))
def test_from_every_step_it_goes_on_as_if_nothing_had_been(step, alone, tmp_path):
    log_every, whole = alone
    path = checkpoints.save(tmp_path, whole.saved[step - 1][0])
    resumed = Training(chosen(log_every), checkpoints.load(path, whole.job.model))
    assert resumed.run()
    assert resumed.recorder.steps == list(range(step + 1, 19))
    assert figures(resumed.recorder.trained) == figures(r for r in whole.recorder.trained if r.step > step)
    epochs = [
        record for record in whole.recorder.epochs if record.epoch > whole.saved[step - 1][0].progress.epoch
    ]
    assert figures(resumed.recorder.epochs) == figures(epochs)
    assert same(resumed.model.state(), whole.model.state())
    assert same(resumed.optimizer.state(), whole.optimizer.state())
    for found, expected in zip(resumed.saved, whole.saved[step:], strict=True):
        assert found[1] == expected[1]
        assert same(found[0].model, expected[0].model)
        progress, wanted = found[0].progress, expected[0].progress
        progress.train_seconds = wanted.train_seconds
        assert progress == wanted


@pytest.mark.parametrize("stops", [(2, 3, 13), (6, 12), (17,), (1, 2, 3, 4, 5, 6, 7, 8)])
def test_stopped_again_and_again_it_ends_the_same(stops, alone):
    log_every, whole = alone
    checkpoint, trained = None, []
    for stop in stops:
        part = Training(chosen(log_every), checkpoint, stop_after=stop)
        assert not part.run()
        checkpoint = part.saved[-1][0]
        trained += figures(part.recorder.trained)
    last = Training(chosen(log_every), checkpoint)
    assert last.run()
    assert trained + figures(last.recorder.trained) == figures(whole.recorder.trained)
    assert same(last.model.state(), whole.model.state())


def test_the_fake_would_show_another_order():
    other = Training(recipe(loop__checkpoint_every=1, data__augment=AUGMENT, seed=12))
    other.run()
    first = Training(chosen(4))
    first.run()
    assert not same(other.model.state(), first.model.state())
