"""A backend's terms beside what its lowerings make, call and compute; `test_terms.py` has the cases.

A term is an expression in the framework's own names. Of a layer it makes a module like the lowered one, or
it computes what the lowered one computes. Of a loss it gives the loss. Of an optimizer it names the function
that a step calls, with the arguments that the other keys' terms have. After a comma may come a remark.
"""

import ast
import importlib
import inspect
import re
from contextlib import ExitStack
from dataclasses import dataclass
from types import ModuleType
from typing import Any
from unittest.mock import patch

import numpy as np
import terms_numpy

from xtrain import plugins
from xtrain.conformance.cases import CLASSES, LAYERS, LOSS, LOSSES, MLP, OPTIMIZERS, split, step_input
from xtrain.conformance.parts import batch, build
from xtrain.plugins import Lazy
from xtrain.spec import SGD, Dropout, Residual, keep_mask

LAST = "the last"
"""Of the arguments of a call by place."""


def compare(name, pattern="$^", instead=""):
    """What is wrong in a backend's terms, in which `pattern` is replaced first."""
    backend, words = plugins.load(name, "cpu", 1), vocabulary(name)

    def explain(model=MLP, loss=LOSS, optimizer=None):
        told = backend.explain(model, loss, optimizer or SGD(lr=0.1))
        return {key: re.sub(pattern, instead, term) for key, term in told.items()}

    wrong = []
    # A lazy module that keeps what it once looked up would call past a spy.
    with patch.object(
        Lazy, "__getattr__", lambda self, name: getattr(importlib.import_module(self._name), name)
    ):
        for case in LAYERS:
            wrong += problems(case.name, check_layers, backend, words, case.model, explain(case.model))
        for key, loss in LOSSES.items():
            wrong += problems(key, check_loss, backend, words, loss, explain(loss=loss)["loss"])
        for key, optimizer in OPTIMIZERS.items():
            check = terms_numpy.check_optimizer if name == "numpy" else check_optimizer
            told = explain(optimizer=optimizer)
            terms = {key: told[f"optimizer.{key}"] for key in optimizer.__dataclass_fields__}
            wrong += problems(key, check, backend, words, optimizer, terms)
    return wrong


def problems(case, check, *given):
    """What a check yields; what it raises is a term that can't be evaluated."""
    found = []
    try:
        found += check(*given)
    except (SyntaxError, NameError, TypeError, ValueError, AttributeError) as error:
        found.append(f"{type(error).__name__}: {error}")
    return [f"{case}: {problem}" for problem in found]


@dataclass(frozen=True)
class Words:
    """What the names in a backend's terms mean; how its tensors are made and read; what its modules are."""

    names: dict[str, Any]
    tensor: Any = np.asarray
    array: Any = np.asarray
    modules: Any = ()

    def evaluate(self, term, **more):
        """The value of a term; a list of numbers in it is a tensor."""
        text = re.sub(r"\[(\d+\.\d+(, \d+\.\d+)+)\]", r"tensor([\1])", expression(term))
        found = eval(text, {**self.names, "tensor": self.tensor, **more})  # noqa: S307 - our own terms
        return found[0] if isinstance(found, tuple) else found

    def called(self, term):
        """Each function of the framework that a term calls: its owner, name and keywords."""
        for call in ast.walk(ast.parse(expression(term), mode="eval")):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute):
                owner = self._resolve(call.func.value)
                if owner is not None:
                    keywords = {of.arg: literal(of.value) for of in call.keywords}
                    last = literal(call.args[-1]) if call.args else ...
                    yield owner, call.func.attr, keywords | ({} if last is ... else {LAST: last})

    def function(self, term):
        """The same of the function that a term begins with, called or not."""
        node = ast.parse(expression(term), mode="eval").body
        if isinstance(node, ast.Attribute):
            return self._resolve(node.value), node.attr, {}
        return next(self.called(term))

    def _resolve(self, node):
        if isinstance(node, ast.Name):
            return self.names.get(node.id)
        owner = self._resolve(node.value) if isinstance(node, ast.Attribute) else None
        if isinstance(owner, ModuleType) and not hasattr(owner, node.attr):
            return importlib.import_module(
                f"{owner.__name__}.{node.attr}"
            )  # torch.optim deletes some of its own
        return None if owner is None else getattr(owner, node.attr)


def vocabulary(name):
    """The words of a backend's terms. Importing the framework is what takes a process of its own."""
    match name:
        case "numpy":
            return Words(terms_numpy.NAMES)
        case "torch":
            import torch

            names = {"torch": torch, "nn": torch.nn, "F": torch.nn.functional}
            return Words(names, torch.tensor, lambda x: x.detach().numpy(), torch.nn.Module)
        case "paddle":
            import paddle

            names = {"paddle": paddle, "nn": paddle.nn, "F": paddle.nn.functional}
            names["logsumexp"] = lambda z: paddle.logsumexp(z, 1, keepdim=True)
            return Words(names, paddle.to_tensor, lambda x: x.numpy(), paddle.nn.Layer)
        case "mindspore":
            import mindspore as ms

            names = {"nn": ms.nn, "ops": ms.ops, "P": ms.ops.operations, "mint": ms.mint}
            return Words(names, ms.Tensor, lambda x: x.asnumpy(), ms.nn.Cell)
    raise ValueError(name)


def expression(term):
    """The longest beginning of a term, up to a comma, that is an expression."""
    text = re.sub(r"(nn\.\w+\(.*\))\[0\]", r"\1", term.partition(";")[0])  # [0] is of what the module gives
    text = text.replace("sum of weights", "weight")
    while True:
        try:
            ast.parse(text, mode="eval")
        except SyntaxError:
            text, comma, _ = text.rpartition(", ")
            if not comma:
                raise ValueError(f"{term} is no expression") from None
        else:
            return text


def literal(node):
    """The value of a literal; ... of anything else."""
    try:
        return ast.literal_eval(node)
    except ValueError:
        return ...


def check_layers(backend, words, model, terms):
    """Each layer of a model: a module made by its term, or the term's own value."""
    lower = importlib.import_module(f"xtrain_{backend.name}.layers").lower
    built, step = build(backend, model), step_input(model)
    before = built.model.state()
    images = backend.dataset(data := split(model)).read(batch(backend, data))[0]
    outputs = built.model.trace(images, step)
    for node, x in fed(model.nodes, images, outputs):
        term = terms[f"model.{node.path}"]
        more = around(words, node, x, step, outputs)
        if backend.name == "numpy":
            found = terms_numpy.layer(words, node, term, more, before, built.model.state())
        elif re.fullmatch(r"F\.\w+\((\w+=[^()]*)\)", expression(term)):  # a call that leaves its tensors out
            yield from spied(words.called(term), lambda: built.model.trace(images, step))[0]
            continue
        else:
            found = words.evaluate(term, **more)
        if isinstance(found, words.modules):
            yield from unlike(found, lower(node), term)
            continue
        if callable(found) and not hasattr(found, "shape"):  # an operation of MindSpore's
            found = found(more["x"])
            found = found[0] if isinstance(found, tuple) else found
        if not close(words.array(found), outputs[node.path]):
            yield f"{node.path}: {term} is not what it gives"


def fed(nodes, x, outputs):
    """Each layer with its input."""
    for node in nodes:
        yield node, x
        yield from fed(node.body, x, outputs)
        yield from fed(node.shortcut, x, outputs)
        x = outputs[node.path]


def around(words, node, x, step, outputs):
    """What the words of a layer's term mean in its place."""
    found = {"x": words.tensor(x), "batch": len(x), "height": x.shape[2] if x.ndim > 2 else 0}
    found["z"] = words.tensor(x - x.max(1, keepdims=True))
    if isinstance(node.layer, Dropout):
        keep = keep_mask(step.dropout_keys[node.dropout], node.layer.p, x.shape)
        found["mask"] = words.tensor(keep.astype(x.dtype))
    if isinstance(node.layer, Residual):
        for part in ("body", "shortcut"):
            nodes = getattr(node, part)
            found[part] = lambda x, nodes=nodes: words.tensor(outputs[nodes[-1].path])
    return found


_OWN = re.compile("name|_id$|_time$|_init$|args|^training$")
"""Attributes that differ from one module to the next."""


def unlike(made, lowered, term):
    """How a lowered module differs from the one that its term makes: by class, or by a plain attribute."""
    if not isinstance(lowered, type(made)):
        yield f"{term} is no {type(lowered).__name__}"
        return
    for key, value in vars(made).items():
        if plain(value) and not _OWN.search(key) and getattr(lowered, key) != value:
            yield f"{term}, where {key} is {getattr(lowered, key)}"


def plain(value):
    if isinstance(value, tuple | list):
        return all(map(plain, value))
    return value is None or isinstance(value, bool | int | float | str)


def close(one, other):
    return one.shape == other.shape and np.allclose(one, other, rtol=1e-4, atol=1e-5)


def check_loss(backend, words, loss, term):
    """The term's value is the loss of a batch, and what it names is called for it."""
    data = split(MLP)
    native = batch(backend, data)

    def run():
        built = build(backend, MLP, loss=loss)
        (metrics,) = built.loop.read([built.loop.eval_step(native)])
        return built.model.predict(backend.dataset(data).read(native)[0]), metrics.loss_sum

    wrong, (outputs, total) = spied(words.called(term), run)
    yield from wrong
    weight = np.array(loss.class_weights or [1.0] * CLASSES)[data.labels].sum()
    one_hot = np.eye(CLASSES, dtype=outputs.dtype)[data.labels]
    arrays = {"logits": outputs, "outputs": outputs, "z": outputs - outputs.max(1, keepdims=True)}
    more = {name: words.tensor(array) for name, array in (arrays | {"labels": data.labels}).items()}
    more |= {"samples": len(data.labels), "classes": CLASSES, "weight": float(weight)}
    value = float(words.evaluate(term, one_hot=lambda labels: words.tensor(one_hot), **more))
    wanted = total / (weight if loss.reduction == "mean" else 1.0)
    if not np.isclose(value, wanted, rtol=1e-5):
        yield f"{term} is {value}, not {wanted}"


def check_optimizer(backend, words, spec, terms):
    """What the terms name is called in a step, with the arguments that they have."""
    owner, function, keywords = words.function(terms["name"])
    for term in terms.values():
        told = re.fullmatch(r"(\w+)=([\w.-]+|\([\d., ]+\))", term)
        keywords |= {told[1]: literal(ast.parse(told[2], mode="eval").body)} if told else {}
    if "betas" in keywords:
        keywords["beta1"], keywords["beta2"] = keywords.pop("betas")
    keywords.pop("lr_decay", None)  # the step's lr is decayed already
    named = [(owner, function, keywords)]
    for key in ("clip_value", "ema"):
        named += words.called(terms[key]) if terms[key] != "none" else ()
    data = split(MLP)

    def run():
        built = build(backend, MLP, spec)
        for number in (1, 2):
            built.loop.train_step([batch(backend, data)], step_input(MLP, number))

    return spied(named, run)[0]


def spied(named, run):
    """Which of the functions (owner, name, arguments) `run` does not call so, and what it gives."""
    with ExitStack() as stack:
        spies = []
        for owner, name, given in named:
            function = getattr(owner, name)
            spy = stack.enter_context(patch.object(owner, name, wraps=function))
            spies.append((name, given, function, spy))
        result = run()
    wrong = []
    for name, given, function, spy in spies:
        calls = [arguments(function, call) for call in spy.call_args_list]
        if not any(all(agree(call, key, value) for key, value in given.items()) for call in calls):
            wrong.append(f"{name} is not called with {given}, but with {calls[-1:]}")
    return wrong, result


def arguments(function, call):
    """Arguments of a call by name, defaults as well, and the last by place; a builtin's are those named."""
    try:
        bound = inspect.signature(function).bind(*call.args, **call.kwargs)
    except (ValueError, TypeError):
        found = dict(call.kwargs)
    else:
        bound.apply_defaults()
        found = dict(bound.arguments)
    return found | ({LAST: call.args[-1]} if call.args else {})


def agree(given, key, value):
    """An argument has the value of the term; one that the term has no number for is not looked at."""
    if key not in given or value is ... or isinstance(value, list):
        return True
    found = given[key]
    return np.isclose(found, value, rtol=1e-5) if isinstance(found, float) else found == value
