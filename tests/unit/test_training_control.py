"""Accumulation, validation, early stopping, plateaus, averaged weights, what is kept of checkpoints."""

import numpy as np
import pytest
from fake_runs import TRAIN, Training, calls, recipe

from xtrain import plan
from xtrain.recipe.watch import Watch
from xtrain.runs import checkpoint as checkpoints
from xtrain.training.trainer import evaluate

NEVER_BETTER = {"monitor": "train_loss", "min_delta": 100.0}


def trained(**overrides):
    training = Training(recipe(**overrides))
    assert training.run()
    return training


def same(one, other):
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("accumulate", [1, 2, 4, 100])
def test_accumulated_batches_make_one_step(accumulate):
    training = trained(loop__accumulate=accumulate)
    per_epoch = -(-6 // accumulate)
    assert training.job.steps_per_epoch == per_epoch
    steps = calls("train")
    assert [step.number for step, _ in steps] == list(range(1, 3 * per_epoch + 1))
    order = [index for epoch in (1, 2, 3) for index in plan.order(0, epoch, TRAIN).tolist()]
    seen = [index for _, indices in steps for index in indices.tolist()]
    assert seen == order
    assert len(steps[0][1]) == min(4 * accumulate, TRAIN)


def test_accumulation_is_a_larger_batch():
    one = trained(loop__accumulate=2)
    other = trained(data__batch_size=8)
    for name, value in one.model.state().items():  # the sums run in another order
        np.testing.assert_allclose(value, other.model.state()[name], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("stop_after", [1, 2, 3, 4])
def test_an_accumulating_run_goes_on_where_it_stopped(stop_after):
    chosen = recipe(loop__accumulate=4)
    alone = Training(chosen)
    alone.run()
    stopped = Training(chosen, stop_after=stop_after)
    assert not stopped.run()
    resumed = Training(chosen, checkpoint=stopped.saved[-1][0])
    assert resumed.run()
    assert same(resumed.model.state(), alone.model.state())


def test_a_validation_split_is_evaluated_and_is_what_is_watched():
    chosen = recipe(data__validation={"fraction": 0.2})
    assert chosen.loop.monitor == "val_accuracy"
    training = Training(chosen)
    training.run()
    parts, records = training.trainer._parts, training.recorder.epochs
    for record, (kept, _) in zip(records, training.saved, strict=True):
        training.model.load(kept.model)
        for name, dataset in (("val", parts.validation), ("test", parts.test)):
            sums, _ = evaluate(training.job, parts.loop, dataset)
            assert record.figures[f"{name}_loss"] == sums.loss
            assert record.figures[f"{name}_accuracy"] == sums.accuracy
        assert record.val_loss != record.test_loss
        assert record.val_seconds > 0
    watched = [[getattr(record, name) for record in records] for name in ("val_accuracy", "test_accuracy")]
    assert training.trainer.progress.best.best == max(watched[0]) != max(watched[1])
    assert "val_loss" not in trained().recorder.epochs[0].figures


def test_it_stops_once_nothing_has_got_better_for_so_long():
    training = trained(loop__epochs=10, stopping={**NEVER_BETTER, "patience": 2})
    assert training.trainer.progress.epoch == 3  # the first is the best, then two in vain
    assert training.saved[-1][0].progress.epoch == 3
    again = Training(recipe(loop__epochs=10, stopping={**NEVER_BETTER, "patience": 2}), training.saved[-1][0])
    assert again.run()
    assert not again.recorder.steps


def test_waiting_is_kept_over_a_resume():
    chosen = recipe(loop__epochs=10, stopping={**NEVER_BETTER, "patience": 3})
    stopped = Training(chosen, stop_after=14)  # in the third epoch
    assert not stopped.run()
    resumed = Training(chosen, stopped.saved[-1][0])
    resumed.run()
    assert resumed.trainer.progress.epoch == 4


def test_the_best_weights_come_back_at_the_end():
    chosen = recipe(loop__epochs=6, stopping={"restore_best": True}, optimizer__lr=3.0)
    training = Training(chosen)
    training.run()
    (*_, best) = [checkpoint for checkpoint, is_best in training.saved if is_best]
    last = training.saved[-1][0]
    assert best.progress.step < last.progress.step
    assert last.progress.restored
    assert same(last.model, best.model)
    finished = Training(chosen, last)
    assert finished.run()
    assert not finished.saved


def test_without_restoring_the_last_weights_stay():
    training = trained(loop__epochs=6, stopping={"patience": 9}, optimizer__lr=3.0)
    best = [checkpoint for checkpoint, is_best in training.saved if is_best][-1]
    assert not same(training.saved[-1][0].model, best.model)


@pytest.mark.parametrize("stop_after", [None, 7, 13, 19])
def test_a_plateau_lowers_the_lr_and_remembers_it(stop_after):
    plateau = {"name": "plateau", "monitor": "train_loss", "threshold": 0.99, "patience": 1, "factor": 0.5}
    chosen = recipe(loop__epochs=6, schedule=plateau)
    training = Training(chosen, stop_after=stop_after)
    if stop_after:
        assert not training.run()
        training = Training(chosen, training.saved[-1][0])
    assert training.run()
    # Epoch 1 is the best, 2 and 3 are in vain: from epoch 4 on half of it, from 6 on a quarter.
    lrs = [step.lr for step, _ in calls("train")]
    assert lrs == [0.1] * 18 + [0.05] * 12 + [0.025] * 6


def test_one_cycle_moves_the_momentum():
    trained(schedule={"name": "one_cycle"})
    momentums = [step.momentum for step, _ in calls("train")]
    assert momentums[0] == 0.95
    assert min(momentums) == pytest.approx(0.85, abs=0.01)
    trained()
    assert calls("train")[-1][0].momentum is None


def test_evaluation_uses_the_averaged_weights_and_training_does_not():
    plain, averaging = trained(), trained(optimizer__ema=0.9)
    assert same(plain.model.state(), averaging.model.state())
    kept = averaging.saved[-1][0]
    averages = checkpoints.averaged(kept.model, kept.optimizer)
    assert not same(averages, kept.model)
    averaging.model.load(averages)
    parts = averaging.trainer._parts
    sums, _ = evaluate(averaging.job, parts.loop, parts.test)
    assert sums.loss == averaging.recorder.epochs[-1].test_loss != plain.recorder.epochs[-1].test_loss
    without = plain.saved[-1][0]
    assert same(checkpoints.averaged(without.model, without.optimizer), without.model)


def test_a_watch_counts_from_the_best():
    watch = Watch()
    seen = [watch.update(value, "max", 0.1) for value in (0.5, 0.55, 0.65, 0.6, 0.75, 0.7)]
    assert seen == [True, False, True, False, False, False]
    assert (watch.best, watch.waited) == (0.65, 3)
    falling = Watch()
    assert [falling.update(value, "min") for value in (3.0, 2.0, 2.0, 4.0)] == [True, True, False, False]
