"""What the trainer asks of a backend, what it tells its observers, and what it keeps."""

import math

import numpy as np
import pytest
import xtrain_fake
from fake_runs import TEST, TRAIN, Training, calls, recipe
from hypothesis import given
from hypothesis import strategies as st

from xtrain import plan
from xtrain.errors import NonFiniteError


def trained(**overrides):
    training = Training(recipe(**overrides))
    assert training.run()
    return training


def test_batches_come_in_the_order_of_the_plan():
    trained(seed=3)
    expected = [batch for epoch in (1, 2, 3) for batch in plan.train_draws(3, epoch, TRAIN, 4).batches]
    found = [indices for _, indices in calls("train")]
    assert [batch.tolist() for batch in found] == [batch.tolist() for batch in expected]
    assert [len(batch) for batch in found] == [4, 4, 4, 4, 4, 3] * 3


def test_steps_are_numbered_and_have_the_lr_of_their_epoch():
    trained(schedule={"name": "multistep", "milestones": [1, 2], "gamma": 0.5})
    inputs = [step for step, _ in calls("train")]
    assert [step.number for step in inputs] == list(range(1, 19))
    assert [step.lr for step in inputs] == [0.1] * 6 + [0.05] * 6 + [0.025] * 6
    assert all(step.dropout_keys == () for step in inputs)


def test_dropout_keys_are_those_of_the_step():
    layers = [{"op": "flatten"}, {"op": "dropout"}, {"op": "linear", "out_features": 10}]
    chosen = recipe(model={"layers": layers}, seed=5)
    Training(chosen).run()
    expected = [plan.dropout_keys(5, step, chosen.bind().model) for step in range(1, 19)]
    assert [step.dropout_keys for step, _ in calls("train")] == expected


def test_nothing_is_read_between_two_records():
    trained(loop__log_every=4, loop__checkpoint_every=1000)
    reads, step = [], 0
    for kind, what, *_ in xtrain_fake.calls:
        if kind == "train":
            step = what.number
        elif kind == "read":
            reads.append((step, what))
    waits = [(step, handles) for step, handles in reads if handles]  # for no handles nothing waits
    evaluations = [(6, 1), (12, 1), (18, 1)]
    assert waits == sorted([(4, 4), (6, 2), (8, 2), (12, 4), (16, 4), (18, 2), *evaluations], key=_by_step)


def _by_step(wait):
    step, handles = wait
    return step, -handles


def test_logging_every_step_reads_every_step():
    training = trained(loop__log_every=1)
    assert [record.step for record in training.recorder.trained] == list(range(1, 19))
    assert max(calls("read")[:6]) == 1


@given(every=st.integers(1, 20), drop_last=st.booleans())
def test_records_are_means_over_samples(every, drop_last):
    xtrain_fake.reset()
    per_epoch = 5 if drop_last else 6
    single = trained(loop__log_every=1, data__drop_last=drop_last).recorder
    several = trained(loop__log_every=every, data__drop_last=drop_last).recorder
    sizes = [len(indices) for _, indices in calls("train")]
    sums = [record.loss * size for record, size in zip(single.trained, sizes, strict=False)]
    steps = range(1, 3 * per_epoch + 1)
    due = [step for step in steps if step % every == 0 or step % per_epoch == 0]
    assert [record.step for record in several.trained] == due
    assert [record.epoch for record in several.trained] == [(step - 1) // per_epoch + 1 for step in due]
    for before, record in zip([0, *due], several.trained, strict=False):
        span = slice(before, record.step)
        assert record.loss == pytest.approx(sum(sums[span]) / sum(sizes[span]), rel=1e-12)
    for place, record in enumerate(several.epochs):
        span = slice(place * per_epoch, (place + 1) * per_epoch)
        assert sum(sizes[span]) == (20 if drop_last else 23)
        assert record.train_loss == pytest.approx(sum(sums[span]) / sum(sizes[span]), rel=1e-12)
        assert (record.epoch, record.step) == (place + 1, (place + 1) * per_epoch)


def test_every_epoch_has_a_record_however_seldom_they_are():
    training = trained(loop__log_every=1000)
    assert [(record.epoch, record.step) for record in training.recorder.trained] == [(1, 6), (2, 12), (3, 18)]
    losses = [record.train_loss for record in training.recorder.epochs]
    assert [record.loss for record in training.recorder.trained] == losses


@pytest.mark.parametrize(("accumulate", "sizes"), [(1, [4, 4, 4, 4, 4, 3]), (4, [16, 7])])
def test_observers_are_told_how_many_samples_a_step_had(accumulate, sizes):
    recorder = trained(loop__accumulate=accumulate).recorder
    assert recorder.steps == list(range(1, 3 * len(sizes) + 1))
    assert recorder.samples == sizes * 3


def test_an_epoch_counts_what_is_right_over_all_samples():
    training = trained(loop__epochs=1, data__eval_batch_size=4)
    assert calls("eval") == [4, 4, 1]
    (record,) = training.recorder.epochs
    right = record.train_accuracy * TRAIN
    assert right == pytest.approx(round(right))
    logits = training.model.predict(images_of_test(training))
    labels = np.arange(TEST) % 10
    assert record.test_accuracy == (logits.argmax(1) == labels).mean()
    assert record.test_loss == pytest.approx(cross_entropy(logits, labels), rel=1e-12)
    assert record.train_seconds > 0
    assert record.test_seconds > 0


def images_of_test(training):
    dataset = training.trainer._parts.test.dataset
    return next(iter(dataset.batches(plan.eval_draws(TEST, TEST))))[1]


def cross_entropy(logits, labels):
    return np.mean(np.log(np.exp(logits).sum(1)) - logits[np.arange(len(labels)), labels])


def test_checkpoints_are_kept_when_due_when_best_and_at_the_end():
    training = trained(loop__checkpoint_every=4)
    accuracies = [record.test_accuracy for record in training.recorder.epochs]
    best = [
        6 * (place + 1) for place, value in enumerate(accuracies) if value > max([-1, *accuracies[:place]])
    ]
    assert training.steps_saved() == sorted({4, 8, 12, 16, 18, *best})
    assert [checkpoint.progress.step for checkpoint, is_best in training.saved if is_best] == best
    last = training.saved[-1][0]
    assert (last.progress.epoch, last.progress.batch, last.progress.best_step) == (3, 0, best[-1])
    assert last.progress.best.best == max(accuracies)
    assert last.optimizer["step"] == 18


def test_the_best_is_the_first_of_equals():
    training = trained(optimizer__lr=0.0, loop__checkpoint_every="2 epochs")
    assert [(checkpoint.progress.step, best) for checkpoint, best in training.saved] == [
        (6, True),
        (12, False),
        (18, False),
    ]


def test_stopping_saves_and_the_rest_comes_later():
    training = Training(recipe(loop__checkpoint_every=1000), stop_after=8)
    assert not training.run()
    assert training.steps_saved() == [6, 8]
    assert training.saved[-1][0].progress.batch == 2
    assert [record.epoch for record in training.recorder.epochs] == [1]


@pytest.mark.parametrize("stop_after", [6, 18])
def test_stopping_after_the_last_batch_leaves_the_evaluation_for_later(stop_after):
    training = Training(recipe(), stop_after=stop_after)
    assert not training.run()
    last = training.saved[-1][0]
    assert (last.progress.step, last.progress.batch) == (stop_after, 6)
    resumed = Training(recipe(), last)
    assert resumed.run()
    assert resumed.recorder.epochs[0].step == stop_after
    assert resumed.recorder.epochs[-1].step == 18


def test_a_finished_run_does_nothing_more():
    last = trained().saved[-1][0]
    xtrain_fake.reset()
    assert Training(recipe(), last).run()
    assert xtrain_fake.calls == []


def test_more_epochs_go_on():
    last = trained().saved[-1][0]
    more = Training(recipe(loop__epochs=4), last)
    assert more.run()
    assert more.recorder.steps == list(range(19, 25))


@pytest.mark.parametrize("log_every", [1, 4, 100])
@pytest.mark.parametrize("step", [1, 5, 6, 9])
def test_a_loss_that_is_not_finite_stops_with_its_step(step, log_every):
    xtrain_fake.fault.loss_at = step
    training = Training(recipe(loop__log_every=log_every, loop__checkpoint_every=4))
    with pytest.raises(NonFiniteError, match=f"^the loss of step {step} is nan\n.*are kept.*optimizer.lr"):
        training.run()
    assert training.steps_saved() == [saved for saved in (4, 6, 8) if saved < step]
    assert all(math.isfinite(record.loss) for record in training.recorder.trained)


@pytest.mark.parametrize("step", [4, 6])
def test_a_weight_that_is_not_finite_is_never_saved(step):
    xtrain_fake.fault.weight_at = step
    training = Training(recipe(loop__checkpoint_every=1, loop__log_every=100))
    with pytest.raises(NonFiniteError, match=r"is not finite after step 4|the test loss after step 6 is"):
        training.run()
    assert training.steps_saved() == list(range(1, step))
    assert all(
        np.isfinite(value).all() for checkpoint, _ in training.saved for value in checkpoint.model.values()
    )


def test_a_test_loss_that_is_not_finite_stops_too():
    xtrain_fake.fault.test_loss_at = 12
    training = Training(recipe())
    with pytest.raises(NonFiniteError, match=r"the test loss after step 12 is inf"):
        training.run()
    assert [record.epoch for record in training.recorder.epochs] == [1]
    assert training.steps_saved() == [6]
