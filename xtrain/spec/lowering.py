"""Lowerings: what a backend makes of each kind of layer, loss and optimizer, and the term it becomes there.

A lowering is registered together with its term, so that what `xtrain check` prints stands beside the code
that it describes:

    lower = Lowerings[Callable[[Node, Any], nn.Module]]("torch", "layer")

    @lower.register(Linear, "nn.Linear({node.input_shape[0]}, {out_features}, bias={bias})")
    def linear(node, layer):
        return nn.Linear(node.input_shape[0], layer.out_features, bias=layer.bias)

Another package's layer or loss is lowered by its own code: an entry point of the group `xtrain.lowerings`,
named after backend and part (`torch.swish`), names a module or function whose import registers it in the
backend's table in the same way.

A term is a format string over the value's own fields, or a function where a word hangs on a condition.
Explaining a recipe must not load a framework, so a module with lowerings imports its framework lazily.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Generic, TypeVar

from xtrain.errors import PluginError, UnsupportedError
from xtrain.spec.loss import LossSpec
from xtrain.spec.model import ModelSpec
from xtrain.spec.optimizer import OptimizerSpec
from xtrain.spec.parts import tags
from xtrain.system import entry_points

GROUP = "xtrain.lowerings"

F = TypeVar("F", bound=Callable[..., Any])
M = TypeVar("M")

Term = str | Callable[..., str]
Terms = Term | Mapping[str, Term]
"""Of an optimizer there is a term for each of its own keys, `name` among them."""


class Lowerings(Generic[F]):
    """One backend's lowerings of one sort of value, by the value's class.

    Args:
        backend: whose, as errors name it.
        sort: `layer`, `loss` or `optimizer`.

    """

    def __init__(self, backend: str, sort: str) -> None:
        self._backend, self._sort = backend, sort
        self._found: dict[type, tuple[F, Terms]] = {}

    def register(self, kind: type, terms: Terms) -> Callable[[F], F]:
        """Decorate the lowering of `kind` with the terms it becomes."""

        def decorate(lowering: F) -> F:
            self._found[kind] = lowering, terms
            return lowering

        return decorate

    def of(self, value: object, name: str = "") -> F:
        """The lowering of a value. `UnsupportedError` where there is none; `name` is what it says besides."""
        return self._entry(value, name)[0]

    def term(self, value: object, **more: Any) -> str:
        """What a layer or loss becomes in the backend's own terms."""
        terms = self._entry(value, "")[1]
        assert not isinstance(terms, Mapping)
        return _said(terms, value, **more)

    def terms(self, value: object) -> Mapping[str, Term]:
        """The term of each key of an optimizer that has one."""
        terms = self._entry(value, "")[1]
        assert isinstance(terms, Mapping)
        return terms

    def _import(self, kind: type) -> None:
        """Let another package register its lowering of a class, if one offers it."""
        offered = entry_points.offered(GROUP)
        for name in (f"{self._backend}.{tag}" for tag in tags(kind)):
            if name in offered:
                entry_points.loaded(GROUP, name)
                if kind not in self._found:
                    package = entry_points.package(offered[name][0])
                    raise PluginError(f"{package} offers {name!r}, whose import registers no {kind.__name__}")

    def _entry(self, value: object, name: str) -> tuple[F, Terms]:
        kind = type(value)
        if kind not in self._found:
            self._import(kind)
        if kind not in self._found:
            shown = f" {name} ({kind.__name__})" if name else f" {value!r}"
            raise UnsupportedError(f"backend {self._backend} has no lowering for {self._sort}{shown}")
        return self._found[kind]


def explain(
    model: ModelSpec,
    loss: LossSpec,
    optimizer: OptimizerSpec,
    layers: Lowerings[Any],
    losses: Lowerings[Any],
    optimizers: Lowerings[Any],
    shared: Mapping[str, Term],
) -> dict[str, str]:
    """Native term by key: `model.<layer>`, `loss`, `optimizer.<key>`.

    `shared` has the terms that all optimizers share. A key without a term is an argument of the same name.
    """
    found = {
        f"model.{node.path}": layers.term(node.layer, node=node, layer=node.layer) for node in model.walk()
    }
    found["loss"] = losses.term(loss, loss=loss)
    terms = {**shared, **optimizers.terms(optimizer)}
    for field in fields(optimizer):
        value = getattr(optimizer, field.name)
        term = terms.get(field.name, f"{field.name}={value}")
        found[f"optimizer.{field.name}"] = "none" if value is None else _said(term, optimizer)
    return found


@dataclass(frozen=True)
class Tree(Generic[M]):
    """How a framework's modules hold other modules by name.

    Args:
        backend: as an error names it.
        container: makes an empty module.
        children: a module's registered children by name.
        add: registers a child below a module under a name.

    """

    backend: str
    container: Callable[[], M]
    children: Callable[[M], Mapping[str, M]]
    add: Callable[[M, str, M], object]

    def attach(self, parent: M, path: str, child: M) -> M:
        """Register `child` below `parent` under its canonical path, and return it.

        What comes before a dot, as in `layer1.0.conv1`, is a container that is made where it is not there.
        `UnsupportedError` where the framework's own module has a member of that name, as `forward`.
        """
        *containers, name = path.split(".")
        for step in containers:
            if step not in self.children(parent):
                self._add(parent, step, self.container())
            parent = self.children(parent)[step]
        self._add(parent, name, child)
        return child

    def _add(self, parent: M, name: str, child: M) -> None:
        if hasattr(parent, name) and name not in self.children(parent):
            raise UnsupportedError(
                f"backend {self.backend} takes no layer called {name!r}: its modules have such a member"
            )
        self.add(parent, name, child)


def _said(term: Term, value: object, **more: Any) -> str:
    if isinstance(term, str):
        own = {field.name: getattr(value, field.name) for field in fields(value)}  # type: ignore[arg-type]
        return term.format(**{**own, **more})
    return term(more.get("node", value))
