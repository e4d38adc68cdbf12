"""Models and optimizers that are converted, with a state, and what one more step makes of it."""

import numpy as np

from xtrain import plugins
from xtrain.recipe import parse
from xtrain.spec import StepInput

STEP = 7
CONV = {"op": "conv2d", "kernel_size": 3, "padding": 1}
PLAIN = {**CONV, "bias": False}
LAYERS = [
    {**CONV, "name": "conv1", "out_channels": 6},
    {"op": "batch_norm2d", "name": "bn1"},
    {"op": "relu"},
    {
        "op": "residual",
        "name": "block",
        "body": [
            {**PLAIN, "name": "conv1", "out_channels": 12, "stride": 2},
            {"op": "batch_norm2d", "name": "bn1"},
            {"op": "relu"},
            {**PLAIN, "name": "conv2", "out_channels": 12},
            {"op": "batch_norm2d", "name": "bn2"},
        ],
        "shortcut": [
            {
                **PLAIN,
                "name": "downsample.0",
                "out_channels": 12,
                "kernel_size": 1,
                "stride": 2,
                "padding": 0,
            },
            {"op": "batch_norm2d", "name": "downsample.1"},
        ],
    },
    {"op": "relu"},
    {"op": "max_pool2d", "kernel_size": 2},
    {"op": "flatten"},
    {"op": "linear", "name": "fc1", "out_features": 48},  # square: its shape does not show a transpose
    {"op": "relu"},
    {"op": "linear", "name": "fc2", "out_features": 10},
]
MODELS = {"net": {"layers": LAYERS}, "lstm": {"name": "lstm", "hidden_size": 8, "num_layers": 2}}
OPTIMIZERS = {
    "sgd": {"name": "sgd", "lr": 0.1, "momentum": 0.9},
    "nesterov": {"name": "sgd", "lr": 0.1, "momentum": 0.9, "nesterov": True},
    "adam": {"name": "adam", "lr": 0.01},
    "adamw": {"name": "adamw", "lr": 0.01},
    "rmsprop": {"name": "rmsprop", "lr": 0.01, "momentum": 0.9, "centered": True},
    "adagrad": {"name": "adagrad", "lr": 0.01},
}
CASES = [("net", name) for name in OPTIMIZERS] + [("lstm", "adam")]


def job(model, optimizer, **more):
    """The job of a case."""
    return parse(
        {
            "name": "case",
            "data": {"name": "digits", "batch_size": 4},
            "model": MODELS[model],
            "optimizer": {**OPTIMIZERS[optimizer], **more},
            "loop": {"epochs": 1},
        },
        "case.toml",
    ).bind(where="case.toml")


def states(chosen, step=STEP):
    """Weights and moments, float32, nowhere equal and nowhere zero; what is squared is above zero."""
    rng = np.random.default_rng(1)
    model = chosen.model

    def drawn(name, shape):
        if name.endswith(("running_var", "exp_avg_sq", "square_avg", "sum")):
            return rng.uniform(0.5, 1.5, shape).astype(np.float32)
        return rng.uniform(-0.3, 0.3, shape).astype(np.float32)

    weights = {name: drawn(name, tensor.shape) for name, tensor in model.tensors.items()}
    moments = {"step": np.array(step, np.int64)} | {
        f"{name}/{buffer}": drawn(buffer, model.tensors[name].shape)
        for name in model.trainable
        for buffer in chosen.recipe.optimizer.buffers
    }
    return weights, moments


def inputs(chosen):
    """Images and gradients that the frameworks are given."""
    rng = np.random.default_rng(2)
    images = rng.standard_normal((5, *chosen.model.input_shape)).astype(np.float32)
    shapes = {name: chosen.model.tensors[name].shape for name in chosen.model.trainable}
    return images, {name: rng.uniform(-1, 1, shape).astype(np.float32) for name, shape in shapes.items()}


def expected(chosen):
    """Logits, then weights and moments after one more step: of the float64 reference."""
    backend = plugins.load("numpy")
    model = backend.model(chosen.model)
    weights, moments = states(chosen)
    images, gradients = inputs(chosen)
    model.load(weights)
    logits = model.predict(images)
    optimizer = backend.optimizer(chosen.recipe.optimizer, model)
    optimizer.load(moments)
    optimizer.step(gradients, StepInput(STEP + 1, chosen.recipe.optimizer.lr))
    return logits, model.state(), optimizer.state()


def write_all(backend, folder, suffix):
    """Every case in a backend's own files. To be called in a process of its own."""
    for case in CASES:
        chosen = job(*case)
        weights, moments = states(chosen)
        path = folder / f"{'-'.join(case)}{suffix}"
        plugins.files(backend).write(path, chosen.model, chosen.recipe.optimizer, weights, moments)


def read_all(backend, folder, suffix):
    """Weights and moments by case. To be called in a process of its own."""
    found = {}
    for case in CASES:
        chosen = job(*case)
        path = folder / f"{'-'.join(case)}{suffix}"
        found[case] = read_one(backend, path, chosen.model, chosen.recipe.optimizer)
    return found


def read_one(backend, path, model, optimizer):
    """Weights and moments of one file. To be called in a process of its own."""
    return plugins.files(backend).read(path, model, optimizer)


EXTRAS = {
    "no momentum": ("sgd", {"momentum": 0.0}, STEP),
    "dampened": ("sgd", {"dampening": 0.1}, STEP),
    "averages": ("adam", {"ema": 0.99}, STEP),
    "averages of plain SGD": ("sgd", {"momentum": 0.0, "ema": 0.9}, STEP),
    "groups": ("adamw", {"decay_exclude": ["bias", "norm"]}, STEP),
    "not centered": ("rmsprop", {"momentum": 0.0, "centered": False}, STEP),
    "before the first update": ("adam", {}, 0),
    "after many": ("adam", {}, 300_000),
}


def extra(name):
    """Job, weights and moments of a rarer case."""
    optimizer, more, step = EXTRAS[name]
    chosen = job("net", optimizer, **more)
    weights, moments = states(chosen, step)
    if step == 0:
        moments = {key: np.zeros_like(value) for key, value in moments.items()}
    return chosen, weights, moments


def there_and_back(backend, folder, suffix):
    """Every rarer case, written and read. To be called in a process of its own."""
    found, files = {}, plugins.files(backend)
    for name in EXTRAS:
        chosen, weights, moments = extra(name)
        path = folder / f"{name}{suffix}"
        files.write(path, chosen.model, chosen.recipe.optimizer, weights, moments)
        found[name] = files.read(path, chosen.model, chosen.recipe.optimizer)
    return found
