"""Recipes as plain values, for tests: one that is small, and strategies for any that is valid."""

import copy
from pathlib import PureWindowsPath
from typing import get_args

from hypothesis import strategies as st

from xtrain.recipe import parse
from xtrain.spec import Precision

SMALL = {
    "name": "small",
    "data": {"name": "digits", "batch_size": 64},
    "model": {"name": "mlp", "hidden": [8]},
    "optimizer": {"name": "sgd", "lr": 0.1},
    "loop": {"epochs": 2},
}


def small(**overrides):
    """A checked recipe: SMALL with values by dotted key, `__` for the dot."""
    changes = {key.replace("__", "."): value for key, value in overrides.items()}
    return parse(copy.deepcopy(SMALL), "small.toml", changes)


def small_job(**overrides):
    """`small` over its data."""
    return small(**overrides).bind(where="small.toml")


fractions = st.floats(0, 1, exclude_max=True)
positive = st.floats(1e-12, 1e6)
non_negative = st.floats(0, 1e6)
counts = st.integers(1, 64)


def table(required, **optional):
    """Dictionaries with the required keys and any of the optional ones."""
    return st.fixed_dictionaries(required, optional=optional)


sgd = table(
    {"name": st.just("sgd")},
    lr=non_negative | st.integers(0, 3),
    momentum=non_negative,
    dampening=st.floats(-10, 10),
    weight_decay=non_negative,
)
nesterov = table({"name": st.just("sgd"), "nesterov": st.just(True), "momentum": positive})
adam = table(
    {"name": st.just("adam")},
    lr=non_negative,
    betas=st.tuples(fractions, fractions).map(list),
    eps=positive,
    weight_decay=non_negative,
)
adamw = adam.map(lambda values: {**values, "name": "adamw"})
rmsprop = table(
    {"name": st.just("rmsprop")}, alpha=fractions, eps=positive, momentum=non_negative, centered=st.booleans()
)
adagrad = table({"name": st.just("adagrad")}, lr_decay=non_negative, eps=positive)
shared = table(
    {},
    decay_exclude=st.lists(st.sampled_from(["bias", "norm"]), unique=True),
    l1=non_negative,
    l2=non_negative,
    clip_value=positive,
    clip_norm=positive,
    ema=fractions,
)
optimizers = st.builds(
    lambda own, common: {**common, **own}, sgd | nesterov | adam | adamw | rmsprop | adagrad, shared
)

warmup = table(
    {"length": st.integers(1, 1000) | st.just("2 epochs")},
    kind=st.sampled_from(["linear", "exponential"]),
    start=st.floats(0, 1, exclude_min=True),
)
_by = {"by": st.sampled_from(["epoch", "step"]), "warmup": warmup}
milestones = st.lists(st.integers(1, 300), max_size=4)
schedules = st.one_of(
    table({"name": st.just("constant")}, **_by),
    table({"name": st.just("multistep"), "milestones": milestones}, gamma=positive, **_by),
    table({"name": st.just("step"), "step_size": counts}, gamma=positive, **_by),
    table({"name": st.just("exponential"), "gamma": positive}, **_by),
    table({"name": st.just("cosine")}, period=counts, min_lr=non_negative, **_by),
    table({"name": st.just("one_cycle"), "cycle_momentum": st.just(False)}, pct_start=st.floats(0.01, 0.99)),
    table({"name": st.just("plateau")}, patience=st.integers(0, 9), factor=st.floats(0.01, 0.99)),
)
losses = table(
    {"name": st.just("cross_entropy")},
    reduction=st.sampled_from(["mean", "sum"]),
    label_smoothing=st.floats(0, 1),
) | table({"name": st.just("mse")}, reduction=st.sampled_from(["mean", "sum"]))
stopping = table(
    {}, patience=counts, min_delta=non_negative, restore_best=st.booleans(), monitor=st.just("train_loss")
)
flip = table({"op": st.just("random_horizontal_flip")}, p=st.floats(0, 1))
loops = table(
    {"epochs": st.integers(1, 10**6)},
    log_every=st.integers(1, 10**6),
    checkpoint_every=st.integers(1, 10**6) | st.sampled_from(["1 epoch", "1 epochs", "12 epochs"]),
    accumulate=counts,
    keep_last=counts,
    precision=st.sampled_from(get_args(Precision)),
)

IMAGE_LAYERS = st.one_of(
    table(
        {
            "op": st.just("conv2d"),
            "out_channels": counts,
            "kernel_size": st.sampled_from([1, 3]),
            "padding": st.integers(1, 3),
        },
        stride=st.just(1),
        bias=st.booleans(),
    ),
    table({"op": st.just("batch_norm2d")}, eps=positive, momentum=st.floats(0, 1)),
    st.just({"op": "relu"}),
    table(
        {"op": st.sampled_from(["max_pool2d", "avg_pool2d"]), "kernel_size": st.just(2)}, padding=st.just(1)
    ),
    table({"op": st.just("dropout")}, p=fractions),
    table({"op": st.just("residual")}, shortcut=st.just([{"op": "batch_norm2d"}])).map(
        lambda layer: {**layer, "body": [{"op": "batch_norm2d", "name": "norm"}, {"op": "relu"}]}
    ),
)
VECTOR_LAYERS = st.one_of(
    table({"op": st.just("linear"), "out_features": counts}, bias=st.booleans()),
    st.just({"op": "relu"}),
    table({"op": st.just("dropout")}, p=fractions),
)


@st.composite
def layer_lists(draw, classes):
    """Layers as a recipe spells them out, over any image of at least 8x8."""
    images = draw(st.lists(IMAGE_LAYERS, max_size=3))
    vectors = draw(st.lists(VECTOR_LAYERS, max_size=3))
    pool = [{"op": "adaptive_avg_pool2d", "output_size": draw(st.integers(1, 3))}]
    logits = [{"op": "linear", "out_features": classes}]
    layers = [*images, *pool, {"op": "flatten"}, *vectors, *logits]
    if draw(st.booleans()):
        layers = [{"name": f"layer.{place}", **layer} for place, layer in enumerate(layers)]
    return layers


def model_tables(classes):
    """Every family."""
    hidden = st.lists(counts, max_size=3)
    return st.one_of(
        table({"name": st.just("mlp")}, hidden=hidden, dropout=fractions),
        table(
            {"name": st.just("simplecnn"), "padding": st.integers(1, 2)},
            channels=st.lists(counts, max_size=2),
            hidden=hidden,
            dropout=fractions,
        ),
        table({"name": st.just("custom"), "layers": layer_lists(classes)}),
        table({"layers": layer_lists(classes)}),
    )


@st.composite
def recipe_values(draw):
    """What a valid TOML file may hold."""
    dataset, channels, classes, side = draw(
        st.sampled_from([("digits", 1, 10, 8), ("mnist", 1, 10, 28), ("cifar100", 3, 100, 32)])
    )
    crop = table({"op": st.just("random_crop"), "size": st.just(side)}, padding=st.integers(0, 8))
    normalize = st.fixed_dictionaries(
        {
            "mean": st.lists(st.floats(-1e3, 1e3), min_size=channels, max_size=channels),
            "std": st.lists(positive, min_size=channels, max_size=channels),
        }
    )
    data = table(
        {"name": st.just(dataset), "batch_size": st.integers(2, 500).filter(lambda size: size not in _ODD)},
        eval_batch_size=counts,
        augment=st.lists(flip | crop, max_size=3),
        normalize=normalize,
        drop_last=st.booleans(),
    )
    required = {
        "name": st.from_regex(r"([A-Za-z0-9_-]\.?){0,99}[A-Za-z0-9_-]", fullmatch=True).filter(
            lambda name: not PureWindowsPath(name).is_reserved()
        ),
        "data": data,
        "model": model_tables(classes),
        "optimizer": optimizers,
        "loop": loops,
    }
    optional = {
        "seed": st.integers(0, 2**63 - 1),
        "loss": losses,
        "schedule": schedules,
        "stopping": stopping,
    }
    return draw(table(required, **optional))


_ODD = {size for samples in (1437, 60_000, 50_000) for size in range(2, 501) if samples % size == 1}
"""Batch sizes that leave one sample over, which batch normalisation of one value refuses."""
