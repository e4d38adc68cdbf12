"""A call in a process of its own."""

import logging
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from plugin_folder import install_fake

from xtrain.errors import BackendError, XtrainError
from xtrain.system import log
from xtrain.system.interrupt import listening
from xtrain.system.isolated import isolated


def _loaded(name):
    return os.getpid(), name in sys.modules, sys.argv


def _refuses():
    raise BackendError("no such thing", where="here", remedy="do that")


def _dies():
    os._exit(3)


def _interrupted():
    raise KeyboardInterrupt


def _divides(by):
    return 1 / by


def _function():
    return lambda: None


class HeldError(Exception):
    """What no pickle takes, because of what it holds."""

    def __init__(self):
        super().__init__("it holds a function")
        self.held = _function()


def _raises_held():
    raise HeldError


class OfTwoError(Exception):
    """What is written down as one argument and can't be made again from it."""

    def __init__(self, first, second):
        super().__init__(f"{first} and {second}")


def _raises_of_two():
    raise OfTwoError(1, 2)


UNSENDABLE = {
    "a local function": (_function, "Can't pickle local object"),
    "an error that holds one": (_raises_held, "it holds a function"),
    "an error that is not made again": (_raises_of_two, "1 and 2"),
}


def test_it_is_another_process():
    import sqlite3  # noqa: F401 - something the other process has no reason to load

    process, loaded, arguments = isolated(_loaded, "sqlite3")
    assert process != os.getpid()
    assert not loaded
    assert arguments == sys.argv  # which a run writes down


def test_arguments_by_name_and_results_travel():
    assert isolated(_divides, by=4) == 0.25


def test_what_it_raises_is_raised_here():
    with pytest.raises(BackendError) as raised:
        isolated(_refuses)
    assert str(raised.value) == "here: no such thing\n  do that"
    assert raised.value.exit_code == 2


def test_an_error_carries_the_traceback_of_where_it_was_raised():
    for kind, call, line in (
        (ZeroDivisionError, lambda: isolated(_divides, 0), "in _divides\n    return 1 / by"),
        (BackendError, lambda: isolated(_refuses), "in _refuses\n    raise BackendError("),
    ):
        with pytest.raises(kind) as raised:
            call()
        (note,) = raised.value.__notes__
        assert note.startswith("Traceback (most recent call last):")
        assert line in note


def test_a_process_that_dies_is_an_error():
    with pytest.raises(XtrainError, match=r"test_isolated\._dies died \(code 3\)"):
        isolated(_dies)


@pytest.mark.parametrize(("function", "said"), UNSENDABLE.values(), ids=UNSENDABLE)
def test_what_can_not_travel_is_an_error_that_says_so(function, said):
    with pytest.raises(XtrainError, match=f"what the call gave can't be sent back: {said}"):
        isolated(function)


def test_what_can_not_be_read_there_is_an_error_that_says_so(tmp_path, monkeypatch):
    (tmp_path / "only_here.py").write_text("class Held: pass")
    monkeypatch.syspath_prepend(tmp_path)
    import only_here

    held = only_here.Held()
    (tmp_path / "only_here.py").unlink()
    with pytest.raises(
        XtrainError, match=r"what the call is handed can't be read by .*: No module named 'only_"
    ):
        isolated(_divides, held)


def _raises_of_there(folder):
    sys.path.insert(0, str(folder))
    import only_there

    raise only_there.Broken("boom")


def test_an_error_of_a_package_that_is_there_alone_is_told_in_words(tmp_path):
    (tmp_path / "only_there.py").write_text("class Broken(Exception): pass")
    with pytest.raises(XtrainError, match=r"^Broken: boom$"):
        isolated(_raises_of_there, tmp_path)


def _notes():
    logging.getLogger("xtrain.note").warning("something")
    logging.getLogger("xtrain.parity").debug("in detail")


def test_what_is_shown_here_is_shown_there(capfd):
    with log.showing([log.NOTES]):
        isolated(_notes)
    assert capfd.readouterr().err == "note: something\n"
    with log.showing([log.NOTES, log.LOG]):
        isolated(_notes)
    assert "DEBUG xtrain.parity: in detail\n" in capfd.readouterr().err


def test_in_another_thread_it_works_too():
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(lambda by: isolated(_divides, by), (2, 4))) == [0.5, 0.25]


def test_handlers_are_as_before():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    isolated(_divides, 1)
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before


def test_an_interrupted_call_is_interrupted_here():
    with pytest.raises(KeyboardInterrupt):
        isolated(_interrupted)


def linger(folder):
    """Wait for Ctrl-C, then take a moment to save something."""
    (folder / "begun").touch()
    try:
        time.sleep(60)
    finally:
        time.sleep(0.5)
        (folder / "saved").touch()


WAITS = """
import sys
from pathlib import Path
from test_isolated import linger
from xtrain.system.isolated import isolated
try:
    isolated(linger, Path(sys.argv[1]))
except KeyboardInterrupt:
    print("interrupted", (Path(sys.argv[1]) / "saved").exists())
"""


def test_ctrl_c_reaches_both_and_this_one_waits(tmp_path):
    process = _waiting(WAITS, tmp_path)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    out, _ = process.communicate(timeout=60)
    assert out == "interrupted True\n"


def stubborn(folder):
    """Hear nothing."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    (folder / "begun").touch()
    time.sleep(60)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_for_this_process_alone_is_passed_on(number, tmp_path):
    process = _waiting(WAITS, tmp_path)
    process.send_signal(number)
    out, _ = process.communicate(timeout=60)
    saved = number == signal.SIGINT  # nobody listens to the other one
    assert out == f"interrupted {saved}\n"


def test_whoever_asks_a_third_time_waits_no_longer(tmp_path):
    process = _waiting(WAITS.replace("linger", "stubborn"), tmp_path)
    before = time.monotonic()
    for _ in range(3):
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)
    out, _ = process.communicate(timeout=60)
    assert out == "interrupted False\n"
    assert time.monotonic() - before < 30


def test_it_ends_with_its_caller(tmp_path):
    process = _waiting(
        WAITS.replace("isolated(linger", "isolated(saves_when_told"), tmp_path, "saves_when_told"
    )
    process.kill()
    process.communicate()
    _until((tmp_path / "saved").exists)


def saves_when_told(folder):
    """As a run does."""
    with listening() as interrupt:
        interrupt.gentle = True
        (folder / "begun").touch()
        _until(interrupt.asked)
        (folder / "saved").touch()


def _waiting(code, folder, name="linger"):
    """A process that waits for a call, which has begun."""
    here = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)]),
    }
    code = code.replace("import linger", f"import {name}")
    command = [sys.executable, "-c", code, str(folder)]
    process = subprocess.Popen(command, env=here, stdout=subprocess.PIPE, text=True, start_new_session=True)
    _until((folder / "begun").exists)
    return process


def _until(holds):
    for _ in range(600):
        if holds():
            return
        time.sleep(0.1)
    raise AssertionError("it never came about")


SCRIPT = """
import sys
import types

sys.modules["torch"] = types.ModuleType("torch")  # another framework than the backend's is loaded
print("the main module")

import xtrain

changes = {"model.hidden": [], "loop.epochs": 1, "data.batch_size": 400}
run = xtrain.run("digits_mlp", backend="fake", out="run", overrides=changes, quiet=True)
print(len(run.epochs), run.sessions[0]["command"])
"""


def test_a_plain_script_needs_no_main_guard(tmp_path):
    plugin = install_fake(tmp_path / "plugin")
    (tmp_path / "script.py").write_text(SCRIPT)
    here = {**os.environ, "PYTHONPATH": os.pathsep.join([str(plugin), *filter(None, sys.path)])}
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, env=here, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["the main module", "1 ['script.py']"]
