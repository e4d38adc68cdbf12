import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xtrain import plan
from xtrain.models import build
from xtrain.spec import Dropout, Flatten, Linear, ModelSpec, RandomCrop, RandomHorizontalFlip

seeds = st.integers(0, 2**63 - 1)
epochs = st.integers(1, 1000)
CROP, FLIP = RandomCrop(size=8, padding=2), RandomHorizontalFlip()


def digest(*arrays):
    return hashlib.sha256(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)).hexdigest()[
        :16
    ]


@given(seed=seeds, counter=st.integers(0, 2**63), count=st.integers(1, 300), fewer=st.integers(0, 300))
def test_fewer_words_are_the_first_ones(seed, counter, count, fewer):
    words = plan.words(seed, "purpose", count, counter)
    assert words.dtype == np.uint64
    np.testing.assert_array_equal(
        plan.words(seed, "purpose", min(fewer, count), counter), words[: min(fewer, count)]
    )


@given(seed=seeds, counter=st.integers(0, 2**62))
def test_words_of_another_purpose_seed_or_counter_are_others(seed, counter):
    words = {
        tuple(plan.words(*given, 4, count).tolist())
        for given, count in (
            ((seed, "a"), counter),
            ((seed, "b"), counter),
            ((seed ^ 1, "a"), counter),
            ((seed, "a"), counter + 1),
        )
    }
    assert len(words) == 4


@given(seed=seeds, epoch=epochs, samples=st.integers(1, 500))
def test_an_order_visits_every_sample_once(seed, epoch, samples):
    order = plan.order(seed, epoch, samples)
    assert order.dtype == np.int64
    assert sorted(order) == list(range(samples))


def test_an_order_is_keyed_by_seed_and_epoch():
    orders = {tuple(plan.order(seed, epoch, 50)) for seed in range(20) for epoch in range(1, 21)}
    assert len(orders) == 400


def test_every_place_of_an_order_gets_every_sample_alike():
    places = np.stack([plan.order(seed, 1, 10) for seed in range(2000)])
    counts = np.stack([np.bincount(column, minlength=10) for column in places.T])
    assert np.abs(counts - 200).max() < 5 * np.sqrt(200)


@given(
    seed=seeds,
    epoch=epochs,
    samples=st.integers(1, 300),
    batch_size=st.integers(1, 64),
    drop_last=st.booleans(),
)
def test_batches_cut_the_same_order_whatever_their_size(seed, epoch, samples, batch_size, drop_last):
    if drop_last and samples < batch_size:
        return
    draws = plan.train_draws(seed, epoch, samples, batch_size, drop_last=drop_last)
    assert len(draws.batches) == plan.batches_per_epoch(samples, batch_size, drop_last)
    assert all(len(batch) == batch_size for batch in draws.batches[:-1])
    left = samples % batch_size
    assert len(draws.batches[-1]) == (left if left and not drop_last else batch_size)
    kept = samples - left if drop_last else samples
    np.testing.assert_array_equal(np.concatenate(draws.batches), plan.order(seed, epoch, samples)[:kept])


@given(seed=seeds, epoch=epochs, skip=st.integers(0, 11))
def test_a_resume_has_the_batches_that_are_left(seed, epoch, skip):
    whole = plan.train_draws(seed, epoch, 100, 10, augment=(CROP, FLIP))
    rest = plan.train_draws(seed, epoch, 100, 10, augment=(CROP, FLIP), skip=skip)
    assert len(rest.batches) == max(10 - skip, 0)
    for expected, found in zip(whole.batches[skip:], rest.batches, strict=True):
        np.testing.assert_array_equal(found, expected)
    for expected, found in zip(whole.augment, rest.augment, strict=True):
        np.testing.assert_array_equal(found, expected)


@given(seed=seeds, epoch=epochs, samples=st.integers(2, 100), batch_size=st.integers(1, 64))
def test_augmentation_is_keyed_by_the_sample(seed, epoch, samples, batch_size):
    crop, flip = plan.train_draws(seed, epoch, samples, batch_size, augment=(CROP, FLIP)).augment
    assert (crop.shape, flip.shape) == ((samples, 2), (samples, 1))
    others = plan.train_draws(seed, epoch, samples, batch_size + 1, augment=(CROP, FLIP)).augment
    np.testing.assert_array_equal(crop, others[0])
    np.testing.assert_array_equal(flip, others[1])
    more = plan.train_draws(seed, epoch, samples + 7, batch_size, augment=(CROP, FLIP)).augment
    np.testing.assert_array_equal(crop, more[0][:samples])
    assert len({tuple(row) for row in crop.tolist()}) == samples


def test_augmentation_differs_by_epoch_place_and_kind():
    def rows(epoch, augment):
        return [words[0, 0] for words in plan.train_draws(3, epoch, 5, 5, augment=augment).augment]

    drawn = [*rows(1, (CROP, FLIP, FLIP)), *rows(2, (CROP,)), *rows(1, (FLIP,))]
    assert len(set(drawn)) == len(drawn)


@given(samples=st.integers(1, 300), batch_size=st.integers(1, 64))
def test_evaluation_visits_all_samples_in_their_own_order(samples, batch_size):
    draws = plan.eval_draws(samples, batch_size)
    np.testing.assert_array_equal(np.concatenate(draws.batches), np.arange(samples))
    assert not draws.augment


@given(sizes=st.lists(st.integers(1, 9), max_size=5))
def test_first_rows_are_where_each_batch_begins(sizes):
    rows = [(batch, row) for batch, size in enumerate(sizes) for row in range(size)]
    assert plan.first_rows(sizes) == tuple(rows.index((batch, 0)) for batch in range(len(sizes)))


@given(labels=st.lists(st.integers(0, 2), max_size=20))
def test_a_weight_is_a_count_or_the_sum_of_the_weights_of_the_classes(labels):
    given_labels, by_class = np.array(labels, dtype=np.int64), (0.5, 2.0, 0.0)
    assert plan.weight(given_labels, None) == len(labels)
    counts = [labels.count(label) for label in range(3)]
    assert plan.weight(given_labels, by_class) == 0.5 * counts[0] + 2 * counts[1]
    assert isinstance(plan.weight(given_labels, by_class), float)


def test_a_weight_is_summed_in_float64():
    labels = np.zeros(10_000, dtype=np.int64)
    assert plan.weight(labels, (0.1,)) == pytest.approx(1000, rel=1e-12)  # float32 would be off by 1e-7


def with_dropout(*names):
    layers = [Dropout(p=0.5, name=name) for name in names]
    return ModelSpec("m", (1, 2, 2), (Flatten(), *layers, Linear(out_features=2)))


def test_dropout_keys_follow_the_layers_and_differ_by_step_seed_and_layer():
    model = with_dropout("first", "second")
    assert model.dropouts == ("first", "second")
    drawn = [plan.dropout_keys(seed, step, model) for seed in range(10) for step in range(1, 101)]
    keys = [key for pair in drawn for key in pair]
    assert all(0 <= key < 2**32 for key in keys)
    assert len(set(keys)) >= len(keys) - 1  # of 2,000 draws from 2**32 two may meet
    swapped = plan.dropout_keys(0, 1, with_dropout("second", "first"))
    assert swapped == plan.dropout_keys(0, 1, model)[::-1]


@given(seed=seeds)
def test_initial_weights_lie_within_their_bounds(seed):
    model = build("lenet", (3, 32, 32), 10)
    state = plan.initial_state(seed, model)
    assert list(state) == list(model.tensors)
    for name, tensor in model.tensors.items():
        assert state[name].dtype == np.float32
        assert state[name].shape == tensor.shape
        assert np.abs(state[name]).max() <= np.float32(tensor.bound)
        if tensor.size > 1000:  # uniform: mean 0, variance bound**2 / 3
            assert abs(state[name].mean()) < 6 * tensor.bound / np.sqrt(3 * tensor.size)
            assert state[name].var() == pytest.approx(tensor.bound**2 / 3, rel=0.2)


def test_one_layer_does_not_change_another():
    narrow, wide = (build("mlp", (1, 8, 8), 10, hidden=hidden) for hidden in ([16, 12], [16, 33, 12]))
    first, second = plan.initial_state(5, narrow), plan.initial_state(5, wide)
    np.testing.assert_array_equal(first["fc1.weight"], second["fc1.weight"])
    np.testing.assert_array_equal(first["fc1.bias"], second["fc1.bias"])
    assert not np.array_equal(first["fc1.bias"][:12], first["fc2.bias"])


def test_batch_norm_starts_as_the_identity():
    from xtrain.spec import BatchNorm2d

    state = plan.initial_state(0, ModelSpec("m", (3, 4, 4), (BatchNorm2d(),)))
    assert {name: set(value.tolist()) for name, value in state.items()} == {
        "bn1.weight": {1.0},
        "bn1.bias": {0.0},
        "bn1.running_mean": {0.0},
        "bn1.running_var": {1.0},
    }


# Golden values: a change here changes every run that anyone has ever made.


def test_words_never_change():
    assert plan.words(0, "order", 3, 1).tolist() == [
        12279239781707201636,
        5090081229998647993,
        375113077504822422,
    ]


def test_orders_and_augmentation_never_change():
    assert plan.order(0, 1, 10).tolist() == [2, 3, 9, 1, 8, 6, 0, 7, 4, 5]
    assert digest(plan.order(42, 7, 60_000)) == "709bc9a33763dc27"
    draws = plan.train_draws(42, 7, 1000, 64, augment=(CROP, FLIP))
    assert digest(*draws.augment) == "7959d8b9673634a8"


def test_dropout_keys_never_change():
    assert plan.dropout_keys(0, 1, with_dropout("dropout1", "dropout2")) == (1617723290, 636203369)


def test_initial_weights_never_change():
    state = plan.initial_state(0, build("simplecnn", (3, 32, 32), 10))
    assert digest(*state.values()) == "72afb4d9f1ee365c"
    assert state["conv1.bias"][:2].tolist() == [-0.08090108633041382, -0.11022739112377167]


# ---- validation

fractions = st.floats(0.001, 0.999)


@given(seed=seeds, samples=st.integers(1, 400), fraction=fractions, balanced=st.booleans())
def test_so_many_are_held_out(seed, samples, fraction, balanced):
    labels = np.random.default_rng(seed % 1000).integers(0, 7, samples)
    held_out = plan.held_out(seed, labels, fraction, balanced=balanced)
    assert held_out.shape == (samples,)
    assert held_out.sum() == plan.held_out_count(samples, fraction) == round(samples * fraction)
    np.testing.assert_array_equal(plan.held_out(seed, labels, fraction, balanced=balanced), held_out)


@given(seed=seeds, samples=st.integers(1, 400), fraction=fractions)
def test_balanced_each_class_has_its_share(seed, samples, fraction):
    labels = np.random.default_rng(seed % 1000).integers(0, 7, samples)
    held_out = plan.held_out(seed, labels, fraction, balanced=True)
    sizes, found = np.bincount(labels, minlength=7), np.bincount(labels[held_out], minlength=7)
    least, remainders = np.divmod(sizes * held_out.sum(), samples)
    more = found - least
    assert set(more) <= {0, 1}
    if 0 in more and 1 in more:
        assert remainders[more == 1].min() >= remainders[more == 0].max()


def test_which_are_held_out_hangs_on_the_seed_and_on_nothing_else():
    labels = np.arange(40) % 4
    kept = {tuple(np.flatnonzero(plan.held_out(seed, labels, 0.25))) for seed in range(100)}
    assert len(kept) == 100
    few, many = (set(np.flatnonzero(plan.held_out(0, labels, share))) for share in (0.25, 0.5))
    assert few < many
    np.testing.assert_array_equal(plan.held_out(0, labels, 0.25), plan.held_out(0, labels[::-1], 0.25))


@pytest.mark.parametrize("balanced", [False, True])
def test_every_sample_is_held_out_as_often(balanced):
    labels = np.arange(30) % 3
    counts = sum(plan.held_out(seed, labels, 0.2, balanced=balanced).astype(int) for seed in range(2000))
    assert np.abs(counts - 400).max() < 5 * np.sqrt(2000 * 0.2 * 0.8)


def test_halves_are_rounded_to_the_even_neighbour():
    assert [plan.held_out_count(samples, 0.5) for samples in (1, 3, 5, 7)] == [0, 2, 2, 4]


def test_what_is_held_out_never_changes():
    labels = np.arange(20) // 7
    assert np.flatnonzero(plan.held_out(0, labels, 0.25)).tolist() == [6, 8, 13, 18, 19]
    assert np.flatnonzero(plan.held_out(0, labels, 0.25, balanced=True)).tolist() == [1, 6, 8, 13, 18]


def test_only_what_is_drawn_has_words():
    from xtrain.spec import CenterCrop, RandomErasing, Resize

    draws = plan.train_draws(0, 1, 10, 5, augment=(Resize(size=9), RandomErasing(), CenterCrop(size=8), FLIP))
    assert [words.shape for words in draws.augment] == [(10, 23), (10, 1)]
    np.testing.assert_array_equal(
        draws.augment[1], plan.train_draws(0, 1, 10, 5, augment=(CROP, CROP, CROP, FLIP)).augment[3]
    )
