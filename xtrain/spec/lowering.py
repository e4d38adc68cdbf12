"""Lowerings: what a backend makes of each kind of layer, loss and optimizer, and the term it becomes there.

A lowering is registered together with its term, so that what `xtrain check` prints stands beside the code
that it describes:

    lower = Lowerings[Callable[[Node, Any], nn.Module]]("torch", "layer")

    @lower.register(Linear, "nn.Linear({node.input_shape[0]}, {out_features}, bias={bias})")
    def linear(node, layer):
        return nn.Linear(node.input_shape[0], layer.out_features, bias=layer.bias)

Lowerings of a line each are a table instead, of terms and lowering by class.

Another package's layer or loss is lowered by its own code: an entry point of the group `xtrain.lowerings`,
named after backend and part (`torch.swish`), names a module or function whose import registers it in the
backend's table in the same way.

A term is a format string over the value's own fields, or a function where a word hangs on a condition.
Explaining a recipe must not load a framework, so a module with lowerings imports its framework lazily.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from xtrain.errors import PluginError, UnsupportedError
from xtrain.spec.layers import Dropout
from xtrain.spec.loss import MSE, LossSpec
from xtrain.spec.model import ModelSpec, Node
from xtrain.spec.optimizer import OptimizerSpec
from xtrain.spec.order import pools_first
from xtrain.spec.parts import OwnCode, package_of, tags
from xtrain.system import entry_points

GROUP = "xtrain.lowerings"

F = TypeVar("F", bound=Callable[..., Any])
M = TypeVar("M")

Term = str | Callable[..., str]
Terms = Term | Mapping[str, Term]
"""Of an optimizer there is a term for each of its own keys, `name` among them."""

FORMULAS: dict[str, Term] = {
    "lr": "lr of the step",
    "weight_decay": "g + {weight_decay} * w",
    "decay_exclude": lambda spec: f"no decay for {', '.join(spec.decay_exclude) or 'none'}",
    "l1": "g + {l1} * sign(w)",
    "l2": "g + {l2} * w",
    "clip_value": "clip(g, -{clip_value}, {clip_value})",
    "clip_norm": "g * min(1, {clip_norm} / (norm + 1e-6)), all together",
    "ema": lambda spec: f"average + {1 - spec.ema:.6g} * (w - average)",
}
"""Formulas of the keys that every optimizer has, for what a framework has no name of its own for."""


class Lowerings(Generic[F]):
    """One backend's lowerings of one sort of value, by the value's class.

    Args:
        backend: whose, as errors name it.
        sort: `layer`, `loss` or `optimizer`.
        table: what can be said in a line: terms and lowering by class; `register` adds to it.

    """

    def __init__(
        self, backend: str, sort: str, table: Mapping[type, tuple[Terms, F]] = MappingProxyType({})
    ) -> None:
        self._backend, self._sort = backend, sort
        self._found = {kind: (lowering, terms) for kind, (terms, lowering) in table.items()}

    def register(self, kind: type, terms: Terms) -> Callable[[F], F]:
        """Decorate the lowering of `kind` with the terms it becomes."""

        def decorate(lowering: F) -> F:
            self._found[kind] = lowering, terms
            return lowering

        return decorate

    def of(self, value: object, name: str = "") -> F:
        """The lowering of a value. `UnsupportedError` where there is none; `name` is what it says besides."""
        return self._entry(value, name)[0]

    def lower(self, node: Node) -> Any:
        """What a layer becomes in its place."""
        lowering = self.of(node.layer, node.path)
        with OwnCode(f"whose lowering for {self._backend} fails", node.layer):
            return lowering(node, node.layer)

    def term(self, value: object, **more: Any) -> str:
        """What a layer or loss becomes in the backend's own terms; `node` is a layer's place in its model."""
        terms = self._entry(value, more["node"].path if "node" in more else "")[1]
        assert not isinstance(terms, Mapping)
        with OwnCode(f"whose term for {self._backend} fails", value):
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
            raise self._missing(value, name)
        return self._found[kind]

    def _missing(self, value: object, name: str) -> UnsupportedError:
        kind, package = type(value), package_of(value)
        shown = f"{name} ({kind.__name__})" if name else kind.__name__ if package else repr(value)
        problem = f"backend {self._backend} has no lowering for {self._sort} {shown}"
        if not package:
            return UnsupportedError(problem)
        tag = tags(kind)[0]
        offers = [offer.partition(".") for offer in entry_points.offered(GROUP)]
        others = ", ".join(backend for backend, _, part in offers if part == tag)
        return UnsupportedError(
            f"{problem}: {package} offers no '{self._backend}.{tag}' in {GROUP}",
            remedy=f"backends that have it: {others or 'none'}",
        )


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


def masked(node: Node) -> str:
    """Term of dropout, the same under every framework."""
    assert isinstance(node.layer, Dropout)
    return f"x * mask / {1 - node.layer.p:g}, the mask from the plan"


def added(node: Node) -> str:
    """Term of a residual, the same under every framework."""
    return f"body(x) + {'shortcut(x)' if node.shortcut else 'x'}"


def targets(loss: LossSpec) -> str:
    """Term of what each class counts: 1 of the label, less what is smoothed over all, times its weight."""
    shares, smoothing = "one_hot(labels)", getattr(loss, "label_smoothing", 0.0)
    if smoothing:
        shares = f"({1 - smoothing:g} * {shares} + {smoothing} / classes)"
    return f"{shares} * {list(loss.class_weights)}" if loss.class_weights else shares


def mean_of(loss: LossSpec, total: str) -> str:
    """Term of a loss from that of its sum: divided by what the samples weigh, where the loss is a mean."""
    if loss.reduction == "sum":
        return total
    samples = "(samples * classes)" if isinstance(loss, MSE) else "samples"
    return f"{total} / {'sum of weights' if loss.class_weights else samples}"


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

    def attach_all(
        self, parent: M, lower: Callable[[Node], M], nodes: Sequence[Node], prefix: str = ""
    ) -> list[M]:
        """Lower layers and register them below `parent`; they come in the order in which they run.

        `prefix` is what the parent's own path is of theirs.
        """
        return [
            self.attach(parent, node.path.removeprefix(prefix), lower(node)) for node in pools_first(nodes)
        ]

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
