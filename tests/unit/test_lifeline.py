"""Lines between processes: who ends without a word ends all."""

import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from xtrain.system.lifeline import Address, Hub, held

PROCESS = """
import sys, time
from xtrain.system.lifeline import Address, held
with held(Address.read(sys.argv[1]), int(sys.argv[2])):
    print("held", flush=True)
    sys.stdin.readline()
    if sys.argv[3] == "raise":
        raise ValueError("broken")
"""


@pytest.fixture
def hub():
    hub = Hub()
    yield hub
    hub.close()


@pytest.fixture
def start(hub):
    started = []

    def start(rank, end="well"):
        process = subprocess.Popen(
            [sys.executable, "-c", PROCESS, str(hub.address), str(rank), end],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout.readline() == "held\n"
        while process.pid not in hub.left:
            time.sleep(0.01)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def go(process):
    process.stdin.write("\n")
    process.stdin.flush()


def test_who_says_farewell_ends_alone(hub, start):
    first, second = start(0), start(1)
    go(first)
    assert first.wait(10) == 0
    assert not hub.broken.wait(0.3)
    assert hub.left == [second.pid]
    go(second)
    assert second.wait(10) == 0
    assert (hub.lost, hub.left) == (None, [])


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_one_that_dies_takes_the_others_with_it(number, hub, start):
    first, second, third = (start(rank) for rank in range(3))
    second.send_signal(number)
    began = time.monotonic()
    assert [first.wait(10), third.wait(10)] == [1, 1]
    assert time.monotonic() - began < 5
    assert hub.lost == (1, second.pid)
    assert "another process of this training has ended" in first.stderr.read()


def test_one_that_fails_takes_the_others_with_it_and_is_told_itself(hub, start):
    first, second = start(0), start(1, "raise")
    go(second)
    assert first.wait(10) == 1
    assert "ValueError: broken" in second.stderr.read()
    assert hub.lost == (1, second.pid)


def test_the_end_of_the_hub_is_the_end_of_all(hub, start):
    process = start(0)
    hub.close()
    assert process.wait(10) == 1
    assert hub.lost is None


def test_one_that_is_stopped_is_known_to_be_left(hub, start):
    first, second = start(0), start(1)
    first.send_signal(signal.SIGSTOP)
    second.kill()
    assert hub.broken.wait(10)
    assert hub.left == [first.pid]


def test_one_that_comes_too_late_ends(hub, start):
    start(0).kill()
    assert hub.broken.wait(10)
    command = [sys.executable, "-c", PROCESS, str(hub.address), "1", "well"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as late:
        assert late.wait(20) == 1


def test_a_stranger_changes_nothing(hub, start):
    process = start(0)
    with socket.create_connection((hub.address.host, hub.address.port)) as line:
        line.sendall(b"0" * len(hub.address.key) + bytes(8))
        assert line.recv(1) == b""  # it is turned away
    time.sleep(0.2)
    assert (hub.lost, hub.left) == (None, [process.pid])


def test_an_address_travels_as_text(hub):
    assert Address.read(str(hub.address)) == hub.address


def test_this_process_is_not_ended_by_its_own_farewell(hub):
    with held(hub.address, 0):
        while os.getpid() not in hub.left:
            time.sleep(0.01)
    hub.close(patience=5)
    assert hub.left == []
