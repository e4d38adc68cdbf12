"""Whether what a plugin gives has all that the contract asks of it: told when it is made, not in a step."""

from typing import Any, cast

from xtrain import protocols
from xtrain.errors import BackendError
from xtrain.protocols import Backend, Dataset, Loop, Model, Optimizer
from xtrain.spec import LossSpec, ModelSpec, OptimizerSpec, Split
from xtrain.system.distribution import version


def checked(name: str, given: Any) -> Backend:
    """A backend that has every member of the contract, as has each part that it builds.

    Raises:
        BackendError: it lacks a member, or was written for a later version of the contract.

    """
    contract = getattr(given, "contract", 1)  # the first version did not ask for a number
    if contract > protocols.VERSION:
        raise BackendError(
            f"backend {name!r} was written for contract {contract}, this is {protocols.VERSION}",
            remedy=f"install a newer xtrain than {version()}, or an older version of the backend's package",
        )
    return cast(Backend, _Checked(name, complete(name, given, Backend, "backend", contract), contract))


def complete(name: str, given: Any, protocol: type, what: str, contract: int = protocols.VERSION) -> Any:
    """What the plugin `name` gives as a `what`. `BackendError` where it lacks a member of the protocol."""
    own = (member for member in list(vars(protocol)) if member[0] != "_" or member == "__len__")
    asked = (member for member in (*protocol.__annotations__, *own) if member != "contract")
    lacking = ", ".join(member for member in asked if not hasattr(given, member))
    if lacking and contract < protocols.VERSION:
        raise BackendError(
            f"backend {name!r} was written for contract {contract}, this is {protocols.VERSION}: "
            f"its {what} lacks {lacking}",
            remedy="install a newer version of its package",
        )
    if lacking:
        raise BackendError(f"backend {name!r}: its plugin gives no {what}, it lacks {lacking}")
    return given


class _Checked:
    """A backend whose parts are looked at as they are built; all else is the backend's own."""

    def __init__(self, name: str, backend: Backend, contract: int) -> None:
        self._name, self._backend, self._contract = name, backend, contract

    def __getattr__(self, member: str) -> Any:
        return getattr(self._backend, member)

    def dataset(self, split: Split) -> Dataset:
        return cast(Dataset, self._part(self._backend.dataset(split), Dataset))

    def model(self, spec: ModelSpec) -> Model:
        return cast(Model, self._part(self._backend.model(spec), Model))

    def optimizer(self, spec: OptimizerSpec, model: Any) -> Optimizer:
        return cast(Optimizer, self._part(self._backend.optimizer(spec, model), Optimizer))

    def loop(self, model: Any, loss: LossSpec, optimizer: Any) -> Loop:
        return cast(Loop, self._part(self._backend.loop(model, loss, optimizer), Loop))

    def _part(self, given: Any, protocol: type) -> Any:
        return complete(self._name, given, protocol, protocol.__name__.lower(), self._contract)
