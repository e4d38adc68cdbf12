"""A call in a process of its own: one process, one framework.

A fresh interpreter runs it, not a copy of this one: the caller's main module is not imported again, so a
plain script needs no guard, and nothing that this process has loaded or set is in the way.
"""

import json
import pickle
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar, cast

from xtrain.errors import XtrainError
from xtrain.system.machine import tune_memory

P = ParamSpec("P")
T = TypeVar("T")

_BOOT = """
import json, sys
folder = sys.argv[1]
with open(folder + "/caller.json", encoding="utf-8") as file:
    sys.path[:], sys.argv[:] = json.load(file)
from xtrain.system.isolated import answer
answer(folder)
"""


def isolated(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """`function(*args, **kwargs)` in a fresh interpreter that has loaded no framework.

    Function, arguments and result travel by pickle, so a function stands at the top of a module. What it
    raises is raised here; `XtrainError` where its process dies. Ctrl-C reaches both processes; this one
    waits for the other to end.
    """
    with tempfile.TemporaryDirectory(prefix="xtrain-") as name:
        folder = Path(name)
        (folder / "caller.json").write_text(json.dumps([sys.path, sys.argv]), encoding="utf-8")
        (folder / "call").write_bytes(pickle.dumps((function, args, kwargs)))
        code = _wait([sys.executable, "-c", _BOOT, name])
        if not (folder / "result").is_file():
            raise XtrainError(
                f"the process that ran {function.__module__}.{function.__qualname__} died (code {code})",
                remedy="its last words, if any, stand above",
            )
        result, error = pickle.loads((folder / "result").read_bytes())  # noqa: S301 - written below
    if error is not None:
        raise error
    return cast(T, result)


def _wait(command: list[str]) -> int:
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:
            process.wait()  # it has been told as well, and may have something to save
            raise
        finally:
            process.kill()


def answer(name: str) -> None:
    """Make the call that lies in a folder and leave its result there; the other process calls this."""
    folder = Path(name)
    tune_memory()  # this process is nobody else's
    function, args, kwargs = pickle.loads((folder / "call").read_bytes())  # noqa: S301 - written above
    result, failure = None, None
    try:
        result = function(*args, **kwargs)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - raised again where the call came from
        error.add_note(traceback.format_exc())
        failure = error
    beside = folder / "answering"
    beside.write_bytes(_pickled(result, failure))
    beside.replace(folder / "result")


def _pickled(result: object, failure: BaseException | None) -> bytes:
    try:
        packed = pickle.dumps((result, failure))
        if failure is not None:
            pickle.loads(packed)  # noqa: S301 - an error may travel and yet not arrive
        return packed
    except Exception as error:  # noqa: BLE001 - whatever an object's own pickling raises
        return pickle.dumps((None, XtrainError(f"what the call gave can't be sent back: {failure or error}")))
