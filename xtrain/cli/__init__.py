"""The command line: one file per command, loaded when it is called. Help pays for no command."""

import io
import sys
import traceback
from collections.abc import Sequence

from xtrain.cli.group import cli
from xtrain.errors import XtrainError
from xtrain.system import log

_ANYWHERE = {"--debug": "debug", "-v": "verbose", "--verbose": "verbose"}
"""Options that may stand anywhere before a `--`."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit: 0 done, 1 failed, 2 wrong use or recipe, 130 interrupted."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name that the locale can't show stops nothing
    given = list(sys.argv[1:] if arguments is None else arguments)
    end = given.index("--") if "--" in given else len(given)
    asked = {_ANYWHERE[argument] for argument in given[:end] if argument in _ANYWHERE}
    rest = [argument for argument in given[:end] if argument not in _ANYWHERE] + given[end:]
    with log.showing((log.NOTES, log.LOG) if "verbose" in asked else (log.NOTES,)):
        sys.exit(_run(rest, "debug" in asked))


def _run(arguments: list[str], debug: bool) -> int:
    import click  # noqa: PLC0415 - `import xtrain.cli` stays light for those who only want main

    try:
        code = cli.main(arguments, prog_name="xtrain", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)  # noqa: T201
        return 130
    except BrokenPipeError:  # the reader of our output has left, as `head` does
        sys.stderr.close()
        return 1
    except (XtrainError, MemoryError) as error:
        if debug:
            traceback.print_exc()
        told = error if isinstance(error, XtrainError) else _too_little_memory(error)
        print(f"error: {told}", file=sys.stderr)  # noqa: T201
        return told.exit_code
    except Exception as error:  # noqa: BLE001 - the last resort: what xtrain does not foresee
        if debug:
            traceback.print_exc()
        text = str(error).strip().splitlines()
        print(f"error: {type(error).__name__}: {text[0] if text else ''}", file=sys.stderr)  # noqa: T201
        print("  not an error xtrain foresees; --debug shows where it comes from", file=sys.stderr)  # noqa: T201
        return 1
    return code if isinstance(code, int) else 0


def _too_little_memory(error: MemoryError) -> XtrainError:
    remedy = "a smaller model or data.batch_size takes less"
    return XtrainError(f"there is not enough memory: {error}", remedy=remedy)
