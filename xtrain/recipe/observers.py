"""The `[[observers]]` of a recipe: who watches a training, besides what every run records."""

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Protocol

from xtrain.errors import UsageError, suggest
from xtrain.spec.parts import OwnCode, Parts

if TYPE_CHECKING:
    from xtrain.recipe.job import Job


class Observing(Protocol):
    """An observer as a recipe names it; its fields are keys of its section."""

    @property
    def name(self) -> str:
        """What selects it."""

    def observer(self) -> Any:
        """A new `xtrain.training.observers.Observer` for one session."""


OBSERVERS = Parts[Observing]("Observer", "xtrain.observers", "name", ("name", "observer"))
AnyObserver = Annotated[Observing, OBSERVERS]


def watched_by(job: "Job", names: Iterable[str]) -> "Job":
    """The job with more observers, each by its name, with its default keys.

    Raises:
        UsageError: there is no such observer, or it needs keys.

    """
    observers = tuple(map(_named, names))
    return replace(job, recipe=replace(job.recipe, observers=(*job.recipe.observers, *observers)))


def _named(name: str) -> Observing:
    kind = OBSERVERS.find(name)
    if kind is None:
        raise UsageError(f"there is no observer {name!r}", remedy=suggest(name, OBSERVERS.names()))
    try:
        with OwnCode("which can't be made", kind, passing=ValueError):
            return kind()
    except ValueError:
        remedy = f'give them in the recipe: [[observers]] with name = "{name}"'
        raise UsageError(f"observer {name!r} needs keys", remedy=remedy) from None
