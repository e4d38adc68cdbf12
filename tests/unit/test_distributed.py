"""Several processes as one training sees them, with threads in their place."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from thread_group import together

from xtrain import plan
from xtrain.errors import XtrainError
from xtrain.recipe import job_of
from xtrain.spec import Metrics, Place
from xtrain.training.distributed import Ranks

SIZES = st.integers(1, 9)


def job(**data):
    return job_of(
        {
            "name": "x",
            "data": {"name": "digits", **data},
            "model": {"name": "mlp", "hidden": [4]},
            "optimizer": {"name": "sgd", "lr": 0.1},
            "loop": {"epochs": 1},
        }
    )


def run(size, work):
    return together(size, lambda rank, group: work(Ranks(Place(rank, size), group)))


# ------------------------------------------------------------------------------------ rows


@given(st.integers(0, 70), st.integers(1, 70), SIZES)
def test_every_row_is_somebodys(rows, batch_size, size):
    rows = min(rows, batch_size)
    parts = [plan.own_rows(rows, batch_size, Place(rank, size)) for rank in range(size)]
    assert [row for part in parts for row in range(rows)[part]] == list(range(rows))
    assert max(len(range(rows)[part]) for part in parts) <= -(-batch_size // size)


@given(st.integers(1, 40), st.integers(1, 3), SIZES)
def test_accumulated_parts_take_the_same_rows(batch, parts, size):
    """Of `size` processes and of as many accumulated batches of a process alone."""
    whole, halves = job(batch_size=batch * size), job(batch_size=batch)
    alone = list(halves.draws(1).batches)
    shared = []
    for step in zip(
        *(whole.own(whole.draws(1), Place(rank, size)).batches for rank in range(size)), strict=True
    ):
        shared += step
    places = [Place(rank, size) for rank in range(size)]
    labels = [np.zeros(len(rows), np.int64) for rows in whole.draws(1).batches]
    fillers = [
        bool(whole.step_input(whole.clock(1), [each], place).fillers) for each in labels for place in places
    ]
    real = [rows for rows, filler in zip(shared, fillers, strict=True) if not filler]
    assert len(real) == len(alone)
    assert all((mine == theirs).all() for mine, theirs in zip(real, alone, strict=True))


def test_masks_are_counted_over_all_processes():
    whole = job(batch_size=10)
    labels = [np.zeros(10, np.int64), np.zeros(3, np.int64)]
    steps = [whole.step_input(whole.clock(1), labels, Place(rank, 4)) for rank in range(4)]
    assert [step.first_rows for step in steps] == [(0, 10), (3, 13), (6, 13), (9, 13)]
    assert [step.fillers for step in steps] == [frozenset(), {1}, {1}, {1}]
    assert [step.share_of(1) for step in steps] == [1 / 13, 0, 0, 0]
    assert {step.share for step in steps} == {1 / 13}  # of all rows of the step, whoever has them


def test_a_filler_is_one_row():
    whole = job(batch_size=1000)  # 1,437 images: the second batch has 437 rows
    own = whole.own(whole.draws(1), Place(1, 2)).batches
    assert [len(rows) for rows in own] == [500, 1]
    assert own[1][0] == whole.draws(1).batches[1][0]


# ------------------------------------------------------------------------------------ what all agree on


@pytest.mark.parametrize("size", [1, 2, 3])
def test_figures_of_rows_are_added_and_those_of_batches_are_put_together(size):
    figures = [Metrics(float(np.float32(1) / (3 + index)), index) for index in range(7)]

    def work(ranks):
        if size == 1:
            ranks = Ranks()
        return ranks.added(figures), ranks.merged(ranks.mine(figures), len(figures))

    for added, merged in run(size, work):
        assert merged == figures  # to the bit
        assert [each.correct for each in added] == [size * index for index in range(7)]
        assert [each.loss_sum for each in added] == [sum([each.loss_sum] * size) for each in figures]


def test_evaluation_of_fewer_batches_than_processes():
    figures = [Metrics(2.5, 1)]
    assert run(3, lambda ranks: ranks.merged(ranks.mine(figures), 1)) == [figures] * 3


@given(st.binary(max_size=50))
def test_what_the_first_makes_arrives_whole(data):
    state = {"w": np.frombuffer(data[: len(data) // 4 * 4], np.float32), "text": "ä", "data": data}
    for got in run(2, lambda ranks: ranks.from_first(lambda: state if ranks.leads else 1 / 0)):
        assert got["w"].tobytes() == state["w"].tobytes()  # -0.0 and NaN too
        assert (got["text"], got["data"]) == ("ä", data)


def test_much_is_sent_in_parts(monkeypatch):
    monkeypatch.setattr("xtrain.training.distributed._AT_ONCE", 7)
    assert run(2, lambda ranks: ranks.from_first(lambda: list(range(100)))) == [list(range(100))] * 2


def test_one_that_is_asked_stops_all_at_the_same_step():
    def work(ranks):
        steps = 0
        while steps < 10_000 and not ranks.stopping(ranks.place.rank == 1 and steps > 20):
            steps += 1
        return steps

    first, second = run(2, work)
    assert first == second
    assert 20 < first < 10_000


def test_alone_it_stops_at_once():
    ranks = Ranks()
    assert [ranks.stopping(asked) for asked in (False, True)] == [False, True]


def test_weights_that_part_are_told():
    def work(ranks):
        weight = np.zeros(3, np.float32)
        ranks.check_same({"fc1.weight": weight, "fc1.bias": weight}, 7)
        weight[1] += np.float32(1e-38) * (ranks.place.rank == 2)
        ranks.check_same({"fc1.weight": np.zeros(3, np.float32), "fc1.bias": weight}, 8)

    with pytest.raises(
        XtrainError, match=r"after step 8 process 2 of 3 has another fc1\.bias than process 0"
    ):
        run(3, work)


def test_how_many_hosts():
    def work(rank, group):
        return Ranks(Place(rank, 4, local_rank=rank % 2), group).hosts

    assert together(4, work) == [2] * 4
    assert Ranks().hosts == 1
