"""Recipes as plain values, from the schema itself: valid ones that are quick to train, and what spoils them.

A key that the schema gains is drawn here without a change.
"""

import copy
import datetime
from functools import cache

from hypothesis import strategies as st

from xtrain.recipe.schema import schema as schema_of_recipes

SCHEMA = schema_of_recipes()
PARTS = SCHEMA["$defs"]

WILD = [0, -1, 1, 2, 7, 255, 256, 1000, 8193, 10**5, 2**31 - 1, 2**31, 10**9, 10**12, 2**63 - 1, 2**63, 2**64]
WILD += [10**30, -(10**12), 0.0, -0.0, 0.5, 1.0, 1.5, 1e-300, 5e-324, 1e-30, 1e-7, 1e7, 1e30, 1e39, 1e300]
WILD += [float("nan"), float("inf"), -float("inf"), 1 - 2**-53, -1e300]
TEXTS = ["", ".", "..", "a/b", "/", "con", "NUL.x", "a" * 300, "é", "\0", "\ud800", "inf"]
TEXTS += ["1 epoch", "1 epochs", "0 epochs", "99999999999999999999 epochs", "val_loss", "test_accuracy"]
TEXTS += ["conv2d", "residual", "mlp", "sgd", "resnet18", "digits", "npz", "image_folder", "mnist"]
TEXTS += ["imagenet", "dataset", "fp16"]
DATES = [datetime.date(2026, 1, 2), datetime.time(3, 4), datetime.datetime(2026, 1, 2, 3, 4)]

sizes = st.integers(1, 4)
fractions = st.floats(0, 1)


@cache
def part(name):
    """Tame values of a part that the schema defines."""
    return of(PARTS[name])


def of(schema):
    """Tame values that a schema allows."""
    if "$ref" in schema:
        return st.deferred(lambda: part(schema["$ref"].rpartition("/")[2]))
    if "const" in schema:
        return st.just(schema["const"])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    for union in ("anyOf", "oneOf"):
        if union in schema:
            return st.one_of([of(member) for member in schema[union] if member.get("type") != "null"])
    return KINDS[schema["type"]](schema)


def _number(schema):
    low = schema.get("minimum", schema.get("exclusiveMinimum", -2))
    high = min(schema.get("maximum", schema.get("exclusiveMaximum", 2)), max(low + 2, 2))
    drawn = st.floats(
        low,
        high,
        exclude_min="exclusiveMinimum" in schema,
        exclude_max="exclusiveMaximum" in schema and high == schema["exclusiveMaximum"],
    )
    return drawn | drawn.map(lambda value: round(value, 2)).filter(lambda value: low < value < high)


def _integer(schema):
    low = schema.get("minimum", 1)
    return st.integers(low, min(schema.get("maximum", low + 4), low + 4))


def _text(schema):
    return st.sampled_from(["1 epoch", "2 epochs"]) if "pattern" not in schema else st.just("a")


def _list(schema):
    if "prefixItems" in schema:
        return st.tuples(*map(of, schema["prefixItems"])).map(sorted)
    return st.lists(of(schema["items"]), min_size=schema.get("minItems", 0), max_size=3)


def _table(schema):
    needed = {*schema.get("required", ()), *({"name", "op"} & schema["properties"].keys())}
    needed -= set() if "op" not in schema["properties"] else {"name"}  # of a layer
    keys = {key: of(value) for key, value in schema["properties"].items()}
    return st.fixed_dictionaries(
        {key: value for key, value in keys.items() if key in needed},
        optional={key: value for key, value in keys.items() if key not in needed | {"name"}},
    )


KINDS = {
    "number": _number,
    "integer": _integer,
    "string": _text,
    "boolean": lambda schema: st.booleans(),
    "array": _list,
    "object": _table,
}


@st.composite
def _convolutions(draw):
    """Layers over images, none of which can fail to fit one of 6x5 at least."""
    kernel = draw(st.integers(1, 3))
    conv = {
        "op": "conv2d",
        "out_channels": draw(sizes),
        "kernel_size": kernel,
        "padding": draw(st.integers(1, 2)),
    }
    pool = {"op": draw(st.sampled_from(["max_pool2d", "avg_pool2d"])), "kernel_size": 2, "padding": 1}
    norm, relu = {"op": "batch_norm2d", **draw(_NORM)}, {"op": "relu"}
    conv |= draw(_CONV)
    body = [{**norm, "name": "norm"}, {**relu, "name": "in"}]
    block = {"op": "residual", "body": body, "shortcut": draw(st.sampled_from([[], [relu]]))}
    chosen = st.sampled_from([conv, pool, norm, relu, block, {"op": "dropout", "p": 0.5}])
    return draw(st.lists(chosen, max_size=4))


def _options(part, *keys):
    properties = PARTS[part]["properties"]
    return st.fixed_dictionaries({}, optional={key: of(properties[key]) for key in keys})


_CONV, _NORM = _options("Layer.Conv2d", "init", "bias"), _options("Layer.BatchNorm2d", "eps", "momentum")
_FAMILIES = {
    "MLP": {},
    "SimpleCNN": {"padding": 2},
    "RowsLSTM": {},
    "WideResNet": {"depth": 10, "width": 1},
}


@st.composite
def models(draw, classes, logarithms):
    """Families of small nets, and layers spelled out that fit the images and the classes."""
    if not logarithms and draw(st.booleans()):
        name = draw(st.sampled_from(sorted(_FAMILIES)))
        return {**draw(part(f"Model.{name}")), **_FAMILIES[name]}
    last = [{"op": "linear", "out_features": classes}, *([{"op": "log_softmax"}] if logarithms else [])]
    if draw(st.integers(0, 3)) == 0:
        lstm = {"op": "lstm", "hidden_size": draw(sizes), "num_layers": draw(sizes)}
        return {"layers": [{"op": "rows"}, lstm, {"op": "last"}, *last]}
    return {"layers": [*draw(_convolutions()), {"op": "flatten"}, *last]}


@st.composite
def valid(draw, datasets):
    """What is well-formed in every section, and mostly fits across them.

    Args:
        draw: hypothesis's.
        datasets: `[data]` sections that name data, each with its number of classes and channels.

    """
    section, classes, channels = draw(st.sampled_from(datasets))
    values = draw(_ROUGH)
    loss, optimizer, schedule = (values.get(key, {}) for key in ("loss", "optimizer", "schedule"))
    values |= {"name": "fuzzed", "model": draw(models(classes, loss.get("name") == "nll"))}
    values["data"] = {**_fitting(values["data"], channels, draw(st.booleans())), **section}
    if classes == 1:
        values["data"].pop("validation", None)  # one sample can't be parted
    if "class_weights" in loss:
        loss["class_weights"] = draw(st.lists(fractions, min_size=classes, max_size=classes))
    if "validation" not in values["data"]:
        _watch_test(values)
    if optimizer.get("nesterov"):
        optimizer |= {"momentum": 0.9, "dampening": 0.0}
    if schedule.get("name") == "one_cycle" and optimizer["name"] not in ("adam", "adamw"):
        schedule["cycle_momentum"] = False
    if draw(st.integers(0, 9)):
        values["loop"].pop("precision", None)  # which NumPy has not
    return values


def _fitting(data, channels, resized):
    """A `[data]` section with what fits images of so many channels; `resized`: to one size in the end."""
    data = {key: value for key, value in data.items() if key not in _OF_SOME}
    if isinstance(data.get("normalize"), dict):
        data["normalize"] = {"mean": [0.5] * channels, "std": [0.3] * channels}
    for key in ("augment", "eval_transform"):
        steps = [step for step in data.get(key, []) if resized or step["op"] not in _RESIZING]
        data[key] = [*steps, {"op": "center_crop", "size": 6}] if resized else steps
    if "validation" in data:
        data["validation"] |= {"fraction": 0.4}
    return data


def _watch_test(values):
    """Figures of the test split in place of the validation split's."""
    for section in (values["loop"], values.get("stopping", {}), values.get("schedule", {})):
        if section.get("monitor", "").startswith("val_"):
            section["monitor"] = section["monitor"].replace("val_", "test_")


_OTHERS = ("model", "init_from", "observers")  # of observers there are none here
_ROUGH = _table(
    {
        **SCHEMA,
        "properties": {k: v for k, v in SCHEMA["properties"].items() if k not in _OTHERS},
    }
)
_OF_SOME = {"image_size", "fit", "extra", "path"}
_RESIZING = {"random_crop", "center_crop", "resize"}


def paths(values, prefix=()):
    """Where something stands in nested values."""
    for key, value in values.items() if isinstance(values, dict) else enumerate(values):
        yield (*prefix, key)
        if isinstance(value, dict | list):
            yield from paths(value, (*prefix, key))


def junk(values):
    """Anything TOML or Python has, and parts of the recipe itself where they don't belong."""
    own = st.sampled_from([copy.deepcopy(_at(values, path)) for path in paths(values)])
    return own | _NESTED


_TABLES = [SCHEMA, *PARTS.values(), *PARTS["Data"]["oneOf"]]
KEYS = sorted({key for table in _TABLES for key in table.get("properties", ())} | {"", "a.b", "x"})
_NESTED = st.recursive(
    st.sampled_from([*WILD, *TEXTS, *DATES, True, False, None])
    | st.text(max_size=4)
    | st.integers()
    | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3),
    max_leaves=4,
)


@st.composite
def spoiled(draw, datasets):
    """Values with some numbers out of bounds, or parts that are replaced, dropped, added or wrapped."""
    values = copy.deepcopy(draw(valid(datasets)))
    if draw(st.integers(0, 9)) == 0:
        section, key = draw(st.sampled_from([(values, "init_from"), (values["data"], "path")]))
        section[key] = draw(st.sampled_from(TEXTS))
    for _ in range(draw(st.integers(0, 3))):
        numbers = [path for path in paths(values) if type(_at(values, path)) in (int, float)]
        if numbers and draw(st.integers(0, 4)):
            path = draw(st.sampled_from(numbers))
            kind = type(_at(values, path))
            _at(values, path[:-1])[path[-1]] = draw(st.sampled_from([n for n in WILD if type(n) is kind]))
        elif values:
            _spoil(draw, values, draw(st.sampled_from(list(paths(values)))))
    return values


def _spoil(draw, values, path):
    parent, last = _at(values, path[:-1]), path[-1]
    match draw(st.sampled_from(["junk", "drop", "add", "wrap"])):
        case "junk":
            parent[last] = draw(junk(values))
        case "drop":
            del parent[last]
        case "add" if isinstance(parent, dict):
            parent[draw(st.sampled_from(KEYS))] = draw(junk(values))
        case _:
            parent[last] = [parent[last]]


@st.composite
def overrides(draw, values):
    """Changes by dotted key, as `--set` makes them."""
    own = st.sampled_from([".".join(map(str, path)) for path in paths(values)])
    return draw(st.dictionaries(own | _DOTTED, junk(values), max_size=2))


_DOTTED = st.lists(st.sampled_from(KEYS), min_size=1, max_size=3).map(".".join)


def _at(values, path):
    for key in path:
        values = values[key]
    return values
