"""A call in several processes, which a framework's own launcher starts and a lifeline holds together."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

from xtrain.errors import XtrainError
from xtrain.system import isolated
from xtrain.system.isolated import Interpreter
from xtrain.system.lifeline import LINE, Hub
from xtrain.system.travel import packed

T = TypeVar("T")

_LOOK = 0.05  # seconds between two looks at the launcher
_GRACE = 5.0  # seconds that a launcher has to end once a process is lost
_MOMENT = 2.0  # seconds that a process has to end once its line is cut
_WORDS = 2000  # characters of what a launcher has said


@dataclass(frozen=True)
class Launch:
    """How the processes are started.

    Args:
        processes: how many.
        arguments: what follows `python`, before the script, by the port at which they meet and a folder for
            the launcher's files.
        environment: variables besides those of this process.
        remedy: what to do where one of them is lost.

    """

    processes: int
    arguments: Callable[[int, Path], Sequence[str]]
    environment: Mapping[str, str] = field(default_factory=dict)
    remedy: str = ""


def launched(launch: Launch, interpreter: Interpreter | None, function: Callable[..., T], *args: Any) -> T:
    """`function(*args)` in every process; what one of them gives that is not None, or the first error.

    Raises:
        XtrainError: a process has ended without a word, or the launcher failed. All others have ended too.

    """
    with tempfile.TemporaryDirectory(prefix="xtrain-") as name, closing(Hub()) as hub:
        folder = Path(name)
        (folder / "caller.json").write_text(json.dumps(isolated.caller(interpreter, True)), encoding="ascii")
        (folder / "call").write_bytes(packed((function, args, {})))
        (folder / "boot.py").write_text(isolated.BOOT, encoding="ascii")
        code, told = _run(launch, interpreter, folder, hub)
        result, error, process = None, None, 0
        if (folder / "result").is_file():
            result, error, process = isolated.received((folder / "result").read_bytes())
        if hub.lost and (result is None or error) and hub.lost[1] != process:
            raise XtrainError(
                f"process {hub.lost[0]} of {launch.processes} has ended without a word, so the others were "
                "ended too",
                remedy=launch.remedy,
            ) from error
        if error is not None:
            raise error
        if result is None and told:
            raise KeyboardInterrupt
        if result is None:
            words = (folder / "said").read_text(encoding="utf-8", errors="replace").strip()[-_WORDS:]
            raise XtrainError(f"the launcher ended with code {code}; its last words:\n{words}")
    return cast(T, result)


def _run(
    launch: Launch, interpreter: Interpreter | None, folder: Path, hub: Hub
) -> tuple[int, Sequence[int]]:
    """Start the launcher and wait for it: its exit code, and the signals that were passed on."""
    python = str(interpreter.path if interpreter else sys.executable)
    arguments = launch.arguments(_free_port(), folder / "launcher")
    command = [python, *arguments, str(folder / "boot.py"), str(folder)]
    environment = {**isolated.variables(interpreter), **launch.environment, LINE: str(hub.address)}
    sys.stdout.flush()  # what was said before stands above
    with (
        isolated.passed_on() as signals,
        open(folder / "said", "wb") as said,
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=said,
            stderr=said,
            env=environment,
            start_new_session=True,
        ) as process,
    ):
        try:
            signals.to(process)
            until = None
            while process.poll() is None:
                time.sleep(_LOOK)
                if hub.broken.is_set():
                    until = until or time.monotonic() + _GRACE
                    if time.monotonic() > until:
                        break
            return process.poll() or 0, signals.told
        finally:
            hub.close()
            _end_all(process, hub)


def _end_all(process: "subprocess.Popen[bytes]", hub: Hub) -> None:
    """End a launcher, what is left in its session's group, and who holds a line still, as one that hangs."""
    until = time.monotonic() + _MOMENT
    while hub.left and time.monotonic() < until:
        time.sleep(_LOOK)
    with suppress(OSError):
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    for number in hub.left:
        with suppress(OSError):
            os.kill(number, signal.SIGKILL)


def _free_port() -> int:
    """A port of the loopback device that nobody has now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
