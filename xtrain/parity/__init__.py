"""The same numbers under every framework, shown: traces, their comparison, and where they diverge.

The room is called as a function too, `xtrain.parity(recipe, ...)`, which is `xtrain.parity.front.parity`.
"""

import sys
from types import ModuleType
from typing import Any


class _Room(ModuleType):
    """A module that can be called."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """As `xtrain.parity.front.parity`, which is imported when it is first needed."""
        from xtrain.parity.front import parity  # noqa: PLC0415 - only for who calls it

        return parity(*args, **kwargs)


sys.modules[__name__].__class__ = _Room
