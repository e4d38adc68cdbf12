"""What the tests of the relay let another process do: tell events, fail, die."""

import os

from xtrain.training.observers import TrainRecord

RECORD = TrainRecord(1, 2, 0.5, 0.1)


def tell(observers):
    """A session of two steps."""
    (relay,) = observers
    relay.start(None)
    relay.step(1, 64)
    relay.step(2, 32)
    relay.train(RECORD)
    relay.epoch(None)
    relay.stop()
    return os.getpid()


def die(observers):
    """Leave without a word in the middle."""
    observers[0].start(None)
    os._exit(3)


def fail_before_the_start(observers):
    """As a session does whose data is missing."""
    observers[0].stop()
    raise OSError("no data")
