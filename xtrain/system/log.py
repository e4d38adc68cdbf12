"""What a process shows on stderr of what xtrain's loggers say."""

import logging
from collections.abc import Collection, Iterator
from contextlib import contextmanager

_SHOWN = {
    "xtrain.note": ("note: %(message)s", logging.WARNING),
    "xtrain": ("%(levelname)s %(name)s: %(message)s", logging.DEBUG),
}
NOTES, LOG = _SHOWN
"""What a user should know and is no error; all that is logged."""


class _Handler(logging.StreamHandler):  # type: ignore[type-arg]
    """Tells itself from the handlers of others."""


def shown() -> list[str]:
    """Names of the loggers that this process shows."""
    return [name for name in _SHOWN if any(isinstance(h, _Handler) for h in logging.getLogger(name).handlers)]


@contextmanager
def showing(names: Collection[str]) -> Iterator[None]:
    """Show what some of them say."""
    made = []
    for name in names:
        form, level = _SHOWN[name]
        log, handler = logging.getLogger(name), _Handler()
        handler.setFormatter(logging.Formatter(form))
        made.append((log, handler, log.level))
        log.addHandler(handler)
        if name == LOG:
            log.setLevel(level)
    try:
        yield
    finally:
        for log, handler, level in reversed(made):
            log.removeHandler(handler)
            log.setLevel(level)
