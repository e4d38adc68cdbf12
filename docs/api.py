"""Write docs/api.md from the docstrings of all public names: python docs/api.py."""

import ast
import inspect
import textwrap
from collections.abc import Iterator
from dataclasses import is_dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import xtrain
from xtrain import extend
from xtrain.parity.front import parity

PAGE = Path(__file__).with_name("api.md")
HEAD = """\
# The Python API

Every public name: those of `xtrain.__all__`, and of `xtrain.extend` for authors of parts.
[Stability](stability.md) says what may change.
This page is made from the docstrings by `python docs/api.py`.
"""
ORDER = (
    *("run", "load", "evaluate", "convert", "parity", "load_recipe"),
    *("Run", "TrainedModel", "Recipe", "Observer", "Start", "TrainRecord", "EpochRecord"),
    *("models", "errors", "XtrainError", "__version__"),
)
MEMBERS = {
    "Run": (
        *("recipe", "job", "best", "epochs", "train", "history", "frame", "plot", "sessions"),
        *("checkpoint", "checkpoints", "metrics_path"),
    ),
    "Recipe": ("bind", "to_dict", "to_toml"),
    "xtrain.models": ("build",),
}
"""Of classes that have more members than users need, those that they do."""
ALIASES = {
    "AbsolutePath": "Type of a key: a path, which is made absolute.",
    "Count": "Type of a key: a whole number from 1 on.",
    "Fraction": "Type of a key: a number from 0 to below 1.",
    "NonNegative": "Type of a key: a number from 0 on.",
    "Positive": "Type of a key: a number above 0.",
    "Shape": "A tuple of sizes without the batch axis: `(channels, height, width)` or `(features,)`.",
}
"""Names that have no docstring."""


def text() -> str:
    """The page."""
    parts = [HEAD]
    for name in ORDER:
        parts += [f"## xtrain.{name}", *_described(name, getattr(xtrain, name))]
    parts += ["## xtrain.extend", _markdown(extend.__doc__), "\n".join(map(_extended, extend.__all__))]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _extended(name: str) -> str:
    return f"- `{name}{_arguments(name)}`: {ALIASES.get(name) or _first(getattr(extend, name).__doc__)}"


def _arguments(name: str) -> str:
    """Of a class with fields, or of a function: their names, and the defaults that are short."""
    found = getattr(extend, name)
    if name in ALIASES or not (is_dataclass(found) or inspect.isfunction(found)) or name == "frozen":
        return ""
    given = inspect.signature(found).parameters.values()
    shown = (
        each.name
        if each.default is each.empty or not isinstance(each.default, int | float | str | bool | None)
        else f"{each.name}={each.default!r}"
        for each in given
    )
    return f"({', '.join(shown)})"


def _described(name: str, found: Any) -> Iterator[str]:
    if name == "__version__":
        yield "The version of the distribution that is installed, such as `0.1.0`."
    elif name == "parity":  # it is a module as well
        yield from _function(parity)
    elif isinstance(found, ModuleType):
        yield _markdown(found.__doc__)
        yield from _module(found)
    elif inspect.isclass(found):
        yield from _class(name, found)
    else:
        yield from _function(found)


def _module(module: ModuleType) -> Iterator[str]:
    for name, member in vars(module).items():
        if name[0] == "_" or getattr(member, "__module__", "") != module.__name__:
            continue
        if not inspect.isclass(member) and name not in MEMBERS.get(module.__name__, ()):
            continue
        shown = _signature(member) if inspect.isfunction(member) else name
        yield f"- `{shown}`: {_first(member.__doc__)}"


def _class(name: str, kind: type) -> Iterator[str]:
    bases = [base.__name__ for base in kind.__mro__[1:] if base.__module__ == "xtrain.errors"]
    if bases:
        yield f"An error, of kind {', '.join(bases)}."
    yield _markdown(kind.__doc__)
    if fields := _fields(kind):
        yield "```python\n" + "\n".join(fields) + "\n```"
    members = {key: value for base in reversed(kind.__mro__) for key, value in vars(base).items()}
    wanted = MEMBERS.get(name) or [key for key in members if key[0] != "_"]
    for key in sorted(wanted, key=lambda key: "Args:" in (members[key].__doc__ or "")):
        member = members[key]
        if isinstance(member, property):
            yield f"- `{key}`: {_first(member.__doc__)}"
        elif inspect.isfunction(member) and "Args:" in (member.__doc__ or ""):
            yield f"### {name}.{key}"
            yield from _function(member)
        elif inspect.isfunction(member):
            yield f"- `{_signature(member)}`: {_first(member.__doc__)}"


def _function(function: Any) -> Iterator[str]:
    yield f"```python\n{_signature(function, wide=False)}\n```"
    yield _markdown(function.__doc__)


def _fields(kind: type) -> list[str]:
    """A dataclass's fields as they are declared."""
    if not hasattr(kind, "__dataclass_fields__") or hasattr(kind, "__pydantic_validator__"):
        return []  # a section's declarations say what is allowed, which `xtrain schema` tells better
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(tree, ast.ClassDef)
    return [ast.unparse(line) for line in tree.body if isinstance(line, ast.AnnAssign)]


def _signature(function: Any, wide: bool = True) -> str:
    """As it is written, without `self`; on one line, or with a line for each argument."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    assert isinstance(tree, ast.FunctionDef)
    given = tree.args
    given.args = [argument for argument in given.args if argument.arg != "self"]
    result = f" -> {_spaced(ast.unparse(tree.returns)).strip(chr(34))}" if tree.returns else ""
    split = [_spaced(ast.unparse(argument)) for argument in _single(given)]
    line = f"{tree.name}({', '.join(split)}){result}"
    if wide or len(line) <= 88:
        return line
    return "\n".join([f"{tree.name}(", *(f"    {part}," for part in split), f"){result}"])


def _single(given: ast.arguments) -> Iterator[ast.arguments]:
    """Each argument with its default, alone; the star among them."""
    none = ast.arguments(posonlyargs=[], args=[], kwonlyargs=[], kw_defaults=[], defaults=[])
    first = len(given.args) - len(given.defaults)
    for place, argument in enumerate(given.args):
        default = [given.defaults[place - first]] if place >= first else []
        yield ast.arguments(**{**vars(none), "args": [argument], "defaults": default})
    if given.kwonlyargs and not given.vararg:
        yield ast.arguments(**{**vars(none), "args": [ast.arg("*")]})
    for argument, value in zip(given.kwonlyargs, given.kw_defaults, strict=True):
        yield ast.arguments(**{**vars(none), "args": [argument], "defaults": [value] if value else []})
    if given.kwarg:
        yield ast.arguments(**{**vars(none), "kwarg": given.kwarg})


def _spaced(argument: str) -> str:
    """`name: type = value`, as our code has it."""
    return (argument.replace("=", " = ", 1) if ": " in argument else argument).replace("'", '"')


def _first(docstring: str | None) -> str:
    return " ".join(inspect.cleandoc(docstring or "").split("\n\n")[0].split())


def _markdown(docstring: str | None) -> str:
    """A docstring whose `Args:` and `Raises:` are lists."""
    lines, listed = [], False
    for line in inspect.cleandoc(docstring or "").splitlines():
        if line in ("Args:", "Raises:"):
            lines += [f"**{line[:-1]}**", ""]
            listed = True
        elif listed and line.startswith("    ") and line[4:5] != " ":
            names, _, rest = line.strip().partition(": ")
            lines.append(f"- `{names}`: {rest}")
        elif listed and line.strip():
            lines.append(f"  {line.strip()}")
        else:
            listed = listed and not line
            lines.append(line)
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(text(), encoding="utf-8")
