"""The hash that every backend computes alike; the conformance suite compares theirs with this one."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xtrain.spec import keep_mask
from xtrain.spec.dropout import mix, threshold

keys = st.integers(0, 2**32 - 1)
rates = st.floats(0, 1, exclude_max=True)


def by_hand(key, p, place):
    """One element of the mask in Python's own integers."""

    def scramble(x):
        x ^= x >> 16
        x = x * 0x7FEB352D % 2**32
        x ^= x >> 15
        x = x * 0x846CA68B % 2**32
        return x ^ x >> 16

    return scramble(scramble(place % 2**32) ^ key) >> 8 >= round(p * 2**24)


@given(key=keys, p=rates, rows=st.integers(1, 4), features=st.integers(1, 5), first_row=st.integers(0, 2**40))
def test_each_element_is_the_hash_of_its_place(key, p, rows, features, first_row):
    mask = keep_mask(key, p, (rows, features), first_row)
    start = first_row * features
    expected = [by_hand(key, p, start + place) for place in range(rows * features)]
    assert mask.ravel().tolist() == expected


@given(key=keys, p=rates, cut=st.integers(0, 12), shape=st.sampled_from([(), (7,), (3, 2, 2)]))
def test_a_batch_cut_in_two_has_the_same_mask(key, p, cut, shape):
    whole = keep_mask(key, p, (12, *shape))
    parts = keep_mask(key, p, (cut, *shape)), keep_mask(key, p, (12 - cut, *shape), first_row=cut)
    np.testing.assert_array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("p", [0.0, 0.1, 0.25, 0.5, 0.9])
def test_as_many_are_dropped_as_asked_for(p):
    drops = np.array([1 - keep_mask(key, p, (100, 100)).mean() for key in range(50)])
    assert abs(drops.mean() - p) < 5 * np.sqrt(p * (1 - p) / 500_000) + 1e-12
    assert np.abs(drops - p).max() < 5 * np.sqrt(p * (1 - p) / 10_000) + 1e-12


def test_neighbours_rows_and_keys_are_independent():
    masks = np.stack([keep_mask(key, 0.5, (64, 64)) for key in range(200)]) - 0.5
    for moved in (np.roll(masks, 1, axis=0), np.roll(masks, 1, axis=1), np.roll(masks, 1, axis=2)):
        assert abs((masks * moved).mean() * 4) < 5 / np.sqrt(masks.size)


def test_the_mixer_meets_nothing_twice():
    x = np.arange(1 << 20, dtype=np.uint32) * np.uint32(4093)
    assert len(np.unique(mix(x))) == len(x)


def test_thresholds():
    assert (threshold(0.0), threshold(0.25), threshold(0.5)) == (0, 2**22, 2**23)


def test_masks_never_change():
    assert keep_mask(1234567, 0.5, (2, 8)).astype(int).tolist() == [
        [1, 0, 0, 1, 1, 1, 1, 1],
        [1, 1, 0, 0, 0, 1, 1, 0],
    ]
    mask = keep_mask(0xDEADBEEF, 0.25, (64, 32, 5, 5), first_row=3)
    assert hashlib.sha256(mask.tobytes()).hexdigest()[:16] == "6cec786a1db33d3e"
