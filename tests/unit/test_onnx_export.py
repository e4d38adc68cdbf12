"""The graph that is written as ONNX, and how the file comes about; test_convert_onnx.py runs it."""

import sys

import numpy as np
import onnx
import pytest
from fake_runs import Training, bound, made, recipe
from onnx import numpy_helper
from test_checkpoint import same
from test_laziness import loaded

from xtrain import models, plan
from xtrain.conformance.cases import LAYERS as LAYER_CASES
from xtrain.errors import UnsupportedError, UsageError
from xtrain.export.onnx import IR, LAYERS, OPSET, lower
from xtrain.export.weights import convert
from xtrain.runs import checkpoint as checkpoints
from xtrain.spec import Dropout, Flatten, Linear, ModelSpec, Residual
from xtrain.spec import layer as spec_layers
from xtrain.spec import layers as spec

AVERAGING = recipe(optimizer={"name": "sgd", "lr": 0.1, "momentum": 0.9, "ema": 0.5})


@pytest.fixture
def run(tmp_path):
    """A run with averaged weights, in float64."""
    training = Training(AVERAGING)
    training.run()
    ended = made(tmp_path / "run", bound(AVERAGING))
    checkpoints.save(ended.checkpoints, training.saved[-1][0])
    return ended


def lowered(*layers, shape=(2, 6, 5)):
    model = ModelSpec("net", shape, layers)
    return lower(model, plan.initial_state(0, model))


def operators(graph):
    return [op for op, *_ in graph.nodes]


def held(path):
    """What a file holds, by name."""
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer}


def test_every_layer_of_the_vocabulary_has_a_lowering():
    assert set(LAYERS._found) == set(spec_layers.LAYERS.own.values())


@pytest.mark.parametrize("case", LAYER_CASES, ids=lambda case: case.name)
def test_a_term_names_the_operators_that_a_layer_becomes(case):
    told = [LAYERS.term(node.layer, node=node, layer=node.layer) for node in case.model.walk()]
    graph = lower(case.model, plan.initial_state(0, case.model))
    assert ", ".join(term for term in told if term != "none") == ", ".join(operators(graph)[:-1])


NETS = {
    "lstm": models.build("lstm", (3, 6, 5), 10, hidden_size=4),
    "resnet18": models.build("resnet18", (3, 32, 32), 10, stem="cifar"),
    "simplecnn": models.build("simplecnn", (3, 8, 8), 10, channels=[4], hidden=[8], dropout=0.5),
    "names of the graph's own": ModelSpec(
        "net",
        (2, 6, 5),
        (
            spec.Conv2d(name="images", out_channels=2, kernel_size=1),
            Residual(name="block", body=(spec.BatchNorm2d(name="output"),), shortcut=(spec.ReLU(),)),
            Flatten(name="output"),
            Linear(name="logits", out_features=3),
        ),
    ),
}


@pytest.mark.parametrize("model", NETS.values(), ids=NETS)
def test_a_name_is_given_once_and_before_it_is_used(model):
    graph = lower(model, plan.initial_state(0, model))
    known = ["images", *graph.held]
    for _, inputs, outputs, _ in graph.nodes:
        assert set(inputs) <= set(known)
        known += outputs
    assert len(set(known)) == len(known)
    assert known[-1] == "logits"
    names = [attributes["name"] for *_, attributes in graph.nodes if attributes]
    assert len(set(names)) == len(names) == len(graph.nodes) - 1  # onnxruntime takes no name twice


@pytest.mark.parametrize("name", ["resnet18", "simplecnn"])
def test_tensors_keep_their_canonical_names(name):
    model = NETS[name]
    state = plan.initial_state(0, model)
    assert same(lower(model, state).held, state)


def test_nothing_is_done_for_dropout_nor_for_an_empty_shortcut():
    residual = Residual(body=(spec.ReLU(), Dropout()))
    assert operators(lowered(residual, Dropout())) == ["Relu", "Add", "Identity"]
    assert lowered(Dropout()).nodes == [("Identity", ["images"], ["logits"], {})]


@pytest.mark.parametrize(("cells", "means"), [(1, ["GlobalAveragePool"]), (3, ["MatMul", "MatMul"])])
def test_an_adaptive_pool(cells, means):
    assert operators(lowered(spec.AdaptiveAvgPool2d(output_size=cells))) == [*means, "Identity"]


def test_a_layer_without_a_lowering_is_named(monkeypatch):
    monkeypatch.delitem(LAYERS._found, spec.ReLU)
    with pytest.raises(
        UnsupportedError, match=r"backend onnx has no lowering for layer block1\.relu1 \(ReLU\)"
    ):
        lowered(Residual(body=(spec.ReLU(),)))


def test_the_weights_are_those_that_evaluation_uses(run, tmp_path):
    found = checkpoints.load(run.checkpoint(), AVERAGING.bind().model)
    averages = {name: found.optimizer[f"{name}/ema"].astype(np.float32) for name in found.model}
    convert(run.path, tmp_path / "x.safetensors")
    for source, given in ((run.path, None), (tmp_path / "x.safetensors", AVERAGING)):
        made = convert(source, tmp_path / "x.onnx", given, force=True)
        assert (made.paths, made.tensors, made.step) == ((tmp_path / "x.onnx",), 2, None)
        assert same(held(tmp_path / "x.onnx"), averages)


def test_what_a_runtime_is_told(run, tmp_path):
    convert(run.path, tmp_path / "x.onnx")
    made = onnx.load(tmp_path / "x.onnx")
    assert (made.ir_version, [(part.domain, part.version) for part in made.opset_import]) == (
        IR,
        [("", OPSET)],
    )
    assert made.producer_name == "xtrain"
    assert made.graph.name == "mlp"
    ends = {}
    for end in (*made.graph.input, *made.graph.output):
        kind = end.type.tensor_type
        assert kind.elem_type == onnx.TensorProto.FLOAT
        ends[end.name] = [axis.dim_param or axis.dim_value for axis in kind.shape.dim]
    assert ends == {"images": ["batch", 1, 8, 8], "logits": ["batch", 10]}


def test_a_file_that_is_there_is_replaced_only_by_force(run, tmp_path):
    (tmp_path / "x.onnx").write_text("old")
    with pytest.raises(UsageError, match=r"x\.onnx: exists\n.*--force"):
        convert(run.path, tmp_path / "x.onnx")
    assert (tmp_path / "x.onnx").read_text() == "old"
    convert(run.path, tmp_path / "x.onnx", force=True)
    assert held(tmp_path / "x.onnx")


@pytest.mark.parametrize("given", [None, AVERAGING], ids=["no recipe", "a recipe"])
def test_it_is_not_read(given, run, tmp_path):
    convert(run.path, tmp_path / "x.onnx")
    with pytest.raises(UsageError, match=r"x\.onnx: ONNX can be written, not read\n  give the run"):
        convert(tmp_path / "x.onnx", tmp_path / "y.safetensors", given)


def test_without_onnx_it_says_what_to_install(run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(UsageError, match=r"an ONNX file needs onnx, which is not installed\n  .*onnx"):
        convert(run.path, tmp_path / "x.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_only_writing_loads_onnx():
    assert "onnx" not in loaded("import xtrain.export.weights, xtrain.export.onnx")
    assert "onnx" in loaded("import onnx")
