"""A call in a process of its own: one process, one framework.

A fresh interpreter runs it, not a copy of this one: the caller's main module is not imported again, so a
plain script needs no guard, and nothing that this process has loaded or set is in the way. It may be the
interpreter of another environment, with another Python and other packages, but with this very xtrain.
"""

import json
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

from xtrain.errors import BackendError, XtrainError
from xtrain.system import log, package
from xtrain.system.machine import tune_memory
from xtrain.system.travel import packed, unpacked

P = ParamSpec("P")
T = TypeVar("T")

_OLDEST = (3, 11)
"""The oldest Python that xtrain runs under."""

_PATIENCE = 60
"""Seconds in which another Python must have begun; one on a slow disk takes a few."""

# Any Python 3 understands this. No module comes from the folder where it happens to run.
BOOT = """
import sys
sys.path[:] = [entry for entry in sys.path if entry] if sys.version_info >= (3,) else sys.path
import json, signal
if signal.getsignal(signal.SIGINT) == signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
folder = sys.argv[1]
with open(folder + "/caller.json") as file:
    caller = json.load(file)
there = {"python": "%d.%d.%d" % sys.version_info[:3], "new": list(sys.version_info[:2]) >= caller["oldest"]}
sys.argv[:] = caller["argv"]
if caller["path"]:
    sys.path[:] = caller["path"]
elif there["new"]:
    try:
        from xtrain.system import package
        there.update(package.itself(caller["distribution"]))
    except Exception as error:
        there["problem"] = "%s: %s" % (type(error).__name__, error)
with open(folder + "/there.json", "w") as file:
    json.dump(there, file)
if caller["path"] or all(there.get(key) == caller[key] for key in ("xtrain", "sources")):
    from xtrain.system.isolated import answer
    answer(folder)
"""


@dataclass(frozen=True)
class Interpreter:
    """Python of another environment.

    Args:
        path: of the executable.
        remedy: what a user does where there is no such Python.
        extra: with which xtrain is installed there.
        environment: variables that its process gets besides those of this one.

    """

    path: Path
    remedy: str
    extra: str
    environment: Mapping[str, str] = field(default_factory=dict)


def isolated(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """`function(*args, **kwargs)` in a fresh interpreter that has loaded no framework.

    Function, arguments and result travel by pickle, so a function stands at the top of a module. What it
    raises is raised here; `XtrainError` where its process dies. Ctrl-C and a request to end are passed on to
    it, and what it makes of them is what the call gives.
    """
    return isolated_in(None, function, *args, **kwargs)


def isolated_in(
    interpreter: Interpreter | None, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
) -> T:
    """The same by the Python of another environment, None for this one's.

    Raises:
        BackendError: there is no such Python, or it hangs, or it has no xtrain, or another than this one.

    """
    with tempfile.TemporaryDirectory(prefix="xtrain-") as name:
        folder = Path(name)
        (folder / "caller.json").write_text(json.dumps(caller(interpreter)), encoding="ascii")
        (folder / "call").write_bytes(packed((function, args, kwargs)))
        code, told = _run(interpreter, name)
        if (folder / "result").is_file():
            result, error, _ = received((folder / "result").read_bytes())
        elif told:
            raise KeyboardInterrupt
        else:
            if interpreter:
                check(interpreter, folder / "there.json", code)
            raise XtrainError(
                f"the process that ran {function.__module__}.{function.__qualname__} died (code {code})",
                remedy="its last words, if any, stand above",
            )
    if error is not None:
        raise error
    return cast(T, result)


def caller(interpreter: Interpreter | None, several: bool = False) -> dict[str, Any]:
    """What the other process learns before it unpacks anything; `several` make the same call."""
    own = {"argv": sys.argv, "path": sys.path, "oldest": _OLDEST, "shown": log.shown(), "several": several}
    if interpreter is None:
        return own
    name = package.distribution().name
    return {**own, "path": None, "distribution": name, **package.itself(name)}


def check(interpreter: Interpreter, said: Path, code: int) -> None:
    """`BackendError` where the other Python is not one that understands this xtrain's values."""
    try:
        there = json.loads(said.read_text(encoding="ascii"))
    except (OSError, ValueError):
        problem = f"is not a Python that works: it ended with code {code} before it said anything"
        raise BackendError(problem, where=interpreter.path, remedy=interpreter.remedy) from None
    version, own = there.get("xtrain"), package.distribution().version
    remedy = f"install this one there: {package.command_there(interpreter.path, interpreter.extra)}"
    if not there["new"]:
        remedy = interpreter.remedy
        problem = f"is Python {there['python']}; xtrain needs {'.'.join(map(str, _OLDEST))} or newer"
    elif "problem" in there or version is None:
        problem = f"has no xtrain that works: {there.get('problem', 'it is not installed')}"
    elif version != own:
        problem = f"has xtrain {version}, this one is {own}"
    elif there["sources"] != package.sources():
        problem = f"has another state of xtrain {own} than this one"
    else:
        return
    raise BackendError(problem, where=interpreter.path, remedy=remedy)


def _run(interpreter: Interpreter | None, folder: str) -> tuple[int, list[int]]:
    """Start the other process and wait for it: its exit code, and the signals that were passed on."""
    command = [str(interpreter.path if interpreter else sys.executable), "-c", BOOT, folder]
    environment = variables(interpreter)
    sys.stdout.flush()  # what was said before stands above
    with passed_on() as signals:
        try:
            # Its input is a pipe that ends with this process: see `_end_with_caller`.
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, env=environment, process_group=0 if signals.own else None
            )
        except OSError as error:
            if interpreter is None:
                raise
            problem = f"can't be started: {error.strerror}"
            raise BackendError(problem, where=interpreter.path, remedy=interpreter.remedy) from error
        with process:
            try:
                signals.to(process)
                if interpreter and not _says_something(process, Path(folder) / "there.json"):
                    if signals.own:  # else it shares this one's group
                        os.killpg(process.pid, signal.SIGKILL)
                    problem = f"is not a Python that works: it said nothing within {_PATIENCE} seconds"
                    raise BackendError(problem, where=interpreter.path, remedy=interpreter.remedy)
                return process.wait(), signals.told
            except KeyboardInterrupt:  # where signals are not passed on
                process.wait()  # it has been told as well, and may have something to save
                raise
            finally:
                process.kill()


def variables(interpreter: Interpreter | None) -> dict[str, str]:
    """The environment for a process by another Python: what leads it astray is left out."""
    if interpreter is None:
        return dict(os.environ)
    own = {key: value for key, value in os.environ.items() if key not in OF_THIS_PYTHON}
    return {**own, **interpreter.environment}


def _says_something(process: "subprocess.Popen[bytes]", sign: Path) -> bool:
    """Wait for a process's first sign of life, or its end; False where neither comes."""
    for _ in range(_PATIENCE * 50):  # time in which this process is stopped does not count
        if process.poll() is not None or sign.exists():
            return True
        time.sleep(0.02)
    return False


OF_THIS_PYTHON = ("PYTHONHOME", "PYTHONEXECUTABLE", "__PYVENV_LAUNCHER__")
"""Variables that lead another Python astray."""


class Signals:
    """What came for this process and is the other's business.

    The other process is in a group of its own, so that each signal reaches it once, whether it came from a
    terminal for all or from a program for this process alone.
    """

    def __init__(self) -> None:
        self.own = os.name == "posix" and threading.current_thread() is threading.main_thread()
        self.told: list[int] = []
        self._process: subprocess.Popen[bytes] | None = None

    def to(self, process: "subprocess.Popen[bytes]") -> None:
        """From now on they go there, and so do those that came before."""
        self._process = process
        for number in self.told:
            process.send_signal(number)

    def take(self, number: int, _: object) -> None:
        """The handler: pass one on; whoever asks a third time waits no longer."""
        self.told.append(number)
        if self._process and len(self.told) > 2:
            self._process.kill()
        elif self._process:
            self._process.send_signal(number)

    def pause(self, *_: object) -> None:
        """The handler of Ctrl-Z: both stop, and both go on."""
        if self._process:
            self._process.send_signal(signal.SIGSTOP)
        os.kill(os.getpid(), signal.SIGSTOP)
        if self._process:
            self._process.send_signal(signal.SIGCONT)


@contextmanager
def passed_on() -> Iterator[Signals]:
    """Where this is the main thread of a POSIX system; elsewhere a terminal tells both processes."""
    signals = Signals()
    if not signals.own:
        yield signals
        return
    handlers: dict[int, Any] = {signal.SIGINT: signals.take, signal.SIGTERM: signals.take}
    for number, handler in ((signal.SIGHUP, signals.take), (signal.SIGTSTP, signals.pause)):
        if signal.getsignal(number) != signal.SIG_IGN:  # as nohup and shells without jobs have it
            handlers[number] = handler
    before = [(number, signal.signal(number, handler)) for number, handler in handlers.items()]
    try:
        yield signals
    finally:
        for known, old in before:
            signal.signal(known, old)


def answer(name: str) -> None:
    """Make the call that lies in a folder and leave its result there; the other process calls this."""
    folder = Path(name)
    _end_with_caller()
    tune_memory()  # this process is nobody else's
    result, failure = None, None
    told = json.loads((folder / "caller.json").read_text(encoding="ascii"))
    with log.showing(told["shown"]):
        try:
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGINT, signal.default_int_handler)
            function, args, kwargs = _handed_over(folder / "call")
            result = function(*args, **kwargs)
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - raised again where the call came from
            error.add_note(traceback.format_exc())
            failure = error
        if told["several"] and result is None and failure is None:
            return  # one of several has something to say
        beside = folder / f"answering-{os.getpid()}"
        beside.write_bytes(_sent(result, failure))
        with suppress(FileExistsError):  # the first to answer is heard
            os.link(beside, folder / "result")


def _handed_over(path: Path) -> Any:
    try:
        return unpacked(path.read_bytes())
    except (ImportError, AttributeError, TypeError, ValueError, pickle.UnpicklingError) as error:
        raise XtrainError(
            f"what the call is handed can't be read by {sys.executable}: {error}",
            remedy="functions and classes stand at the top of a module that is installed there too",
        ) from error


def _sent(result: object, failure: BaseException | None) -> bytes:
    """The result, or the failure with its words for a process that can't make it again."""
    words = f"{type(failure).__name__}: {failure}" if failure else ""
    try:
        data = packed((result, failure))
        if failure is not None:
            unpacked(data)  # an error may travel and yet not arrive
    except Exception as error:  # noqa: BLE001 - whatever an object's own pickling raises
        data = packed((None, XtrainError(f"what the call gave can't be sent back: {failure or error}")))
    return packed((data, words, os.getpid()))


def received(data: bytes) -> tuple[Any, BaseException | None, int]:
    """The result, or what was raised, and the process that says so."""
    inner, words, process = unpacked(data)
    try:
        return (*unpacked(inner), process)
    except (ImportError, AttributeError) as error:  # of a package that is installed there alone
        return None, XtrainError(words or f"what the call gave can't be read here: {error}"), process


def _end_with_caller() -> None:
    """Once the process that waits for the answer is gone, however it ended, ask this one to end too."""
    line = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)

    def listen() -> None:
        while os.read(line, 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)  # a run saves and ends

    threading.Thread(target=listen, daemon=True).start()
