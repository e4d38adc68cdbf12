"""Observers of a training in another process: they stay here, and are told what happens there."""

import os
import socket
import threading

import pytest
from fake_runs import Recorder
from relay_observers import RECORD, die, fail_before_the_start, tell

from xtrain.errors import UsageError, XtrainError
from xtrain.system.isolated import isolated
from xtrain.training.observers import Observer
from xtrain.training.observers.anything import adapted
from xtrain.training.observers.relay import Relay, relayed


class Locked(Recorder):
    """What no pickle takes."""

    def __init__(self):
        super().__init__()
        self.lock = threading.Lock()


def test_every_event_arrives_in_its_order_in_observers_that_no_pickle_takes():
    first, second = Locked(), Locked()
    with relayed([first, second]) as told:
        assert isolated(tell, told) != os.getpid()
    for observer in (first, second):
        assert observer.seen == ["start", "stop"]
        assert (observer.steps, observer.samples, observer.trained) == ([1, 2], [64, 32], [RECORD])


@pytest.mark.parametrize("event", ["start", "step", "train", "epoch", "stop"])
def test_what_an_observer_raises_ends_the_training_and_is_raised_here(event):
    class MineError(Exception):
        """Known to this process alone."""

    def refuse(*about):
        raise MineError(event)

    observer = Recorder()
    setattr(observer, event, refuse)
    with pytest.raises(MineError, match=event), relayed([observer]) as told:
        isolated(tell, told)
    assert observer.seen == [seen for seen in ("start", "stop") if seen != event]


def test_where_the_process_dies_observers_are_told_that_the_session_ended():
    observer = Recorder()
    with pytest.raises(XtrainError, match=r"died \(code 3\)"), relayed([observer]) as told:
        isolated(die, told)
    assert observer.seen == ["start", "stop"]


def test_a_session_that_never_began_tells_nothing():
    observer = Recorder()
    with pytest.raises(OSError, match="no data"), relayed([observer]) as told:
        isolated(fail_before_the_start, told)
    assert observer.seen == []
    with relayed([]) as told:
        assert told == []


def test_who_has_no_key_is_turned_away():
    observer = Recorder()
    with relayed([observer]) as told:
        (relay,) = told
        with socket.create_connection(("127.0.0.1", relay._port)) as stranger:
            stranger.sendall(b"x" * 32)
            assert stranger.recv(1) == b""
        tell(told)
    assert observer.steps == [1, 2]


def test_where_the_caller_has_gone_the_training_ends():
    with socket.create_server(("127.0.0.1", 0)) as server:
        relay = Relay(server.getsockname()[1], b"k" * 32)

        def leave():
            server.accept()[0].close()

        threading.Thread(target=leave).start()
        with pytest.raises(XtrainError, match="the process that asked for this training has ended"):
            relay.start(None)


def test_any_object_with_some_of_the_methods_observes():
    class Steps:
        """Counts."""

        def __init__(self):
            self.steps = []

        def step(self, step, samples):
            self.steps.append(step)

    mine, own = Steps(), Observer()
    made = adapted([mine, own])
    assert made[1] is own
    with relayed(made) as told:
        tell(told)
    assert mine.steps == [1, 2]


def test_what_can_be_no_observer_is_refused():
    with pytest.raises(UsageError, match=r"3 has none of an observer's methods\n.*start, step, train"):
        adapted([3])
    with pytest.raises(UsageError, match=r"Recorder is a class\n  give an instance of it: Recorder\(\)"):
        adapted([Recorder])
