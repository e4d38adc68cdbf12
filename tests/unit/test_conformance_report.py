"""What a run of the suite is summed up to: levels that rows need, counts, the JSON, the badge, deviations."""

import json
import xml.etree.ElementTree as ET
from dataclasses import asdict, fields, replace

import pytest

from xtrain import protocols
from xtrain.conformance import deviations
from xtrain.conformance.cases import CONVOLUTIONAL, LAYERS, LOSSES, MLP, OPTIMIZERS, Case
from xtrain.conformance.computed import UPDATES
from xtrain.conformance.deviations import Deviation
from xtrain.conformance.levels import LEVELS, needs
from xtrain.conformance.report import OUTCOMES, Level, Report, Row, write
from xtrain.errors import UsageError
from xtrain.spec import SGD, Adam, CrossEntropy, Layer
from xtrain.spec.layer import LAYERS as VOCABULARY

CORE_CASES = {"linear", "linear_without_bias", "relu", "dropout_vector", "log_softmax"}
SEQUENCES = {"rows", "lstm", "lstm_two_layers_last"}
CORE_OPTIMIZERS = {
    "sgd",
    "sgd_weight_decay",
    "sgd_momentum",
    "sgd_dampening",
    "sgd_nesterov",
    "sgd_everything",
    "sgd_dampening_decay",
}


def of_case(name):
    if name in CORE_CASES:
        return set()
    return {"lstm_after_images": {"images", "sequences"}}.get(
        name, {"sequences"} if name in SEQUENCES else {"images"}
    )


@pytest.mark.parametrize("case", LAYERS, ids=lambda case: case.name)
def test_a_case_needs_what_its_model_is_made_of(case):
    assert needs([case]) == needs([case.model]) == of_case(case.name)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_needs_its_level_also_by_name(name):
    wanted = set() if name in CORE_OPTIMIZERS else {"optimizers"}
    assert needs([OPTIMIZERS[name]]) == needs([name]) == wanted


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_needs_its_level_also_by_name(name):
    assert needs([LOSSES[name]]) == needs([name]) == (set() if name == "cross_entropy" else {"optimizers"})


def test_an_optimizer_under_a_moved_momentum_needs_what_it_needs():
    moved = [name for name in UPDATES if name not in OPTIMIZERS]
    assert len(moved) == 5
    assert {name for name in moved if not needs([name])} == {
        "sgd_momentum_moved_momentum",
        "sgd_nesterov_moved_momentum",
    }


def test_models_need_their_layers():
    assert needs([MLP]) == set()
    assert needs([CONVOLUTIONAL]) == {"images"}


def test_the_needs_of_all_parameters_are_joined():
    assert needs([CONVOLUTIONAL, Adam()]) == {"images", "optimizers"}
    lstm = next(case for case in LAYERS if case.name == "lstm")
    assert needs([LAYERS[0], "mse", lstm]) == {"images", "optimizers", "sequences"}


@pytest.mark.parametrize("value", ["forward", "gpu:99", "", 3, 0.5, None, (1, 2), {"bias": False}, object()])
def test_what_is_no_part_needs_nothing(value):
    assert needs([value]) == set()


def test_a_key_that_sgd_shares_with_the_others_is_not_core():
    for changed in ({"l1": 0.1}, {"l2": 0.1}, {"clip_norm": 1.0}, {"clip_value": 1.0}, {"ema": 0.5}):
        assert needs([SGD(**changed)]) == {"optimizers"}
    assert needs([SGD(decay_exclude=("bias",))]) == {"optimizers"}
    assert needs([CrossEntropy(label_smoothing=0.1)]) == {"optimizers"}


def test_a_layer_of_another_package_belongs_to_no_level():
    class Foreign(VOCABULARY.own["relu"]):
        """As far as levels are concerned, whatever it descends from."""

    assert issubclass(Foreign, Layer)
    assert needs([Case("foreign", (Foreign(),))]) == {"images", "other packages"}
    case = Case("foreign", (Foreign(),), around=next(c for c in LAYERS if c.name == "relu").around)
    assert needs([case]) == {"other packages"}


def row(name, *needed, outcome="passed", reason=""):
    return Row(f"test_x.py::{name}", needed, outcome, 0.25, reason)


ALL = [row(level, *({level} - {"core"})) for level in LEVELS]


def report(*rows, **changed):
    about = Report("mine", "mine 1.0", "cpu", quick=False, whole=True, seconds=2.04, rows=rows)
    return replace(about, **changed)


def reached(found):
    return [name for name, level in found.levels.items() if level.reached]


def test_counts_have_every_outcome():
    assert report().counts == {"passed": 0, "refused": 0, "failed": 0, "known": 0}
    found = report(
        *ALL,
        row("a", outcome="refused"),
        row("b", outcome="refused"),
        row("c", outcome="failed"),
        row("d", outcome="known"),
    )
    assert found.counts == {"passed": 4, "refused": 2, "failed": 1, "known": 1}
    assert tuple(found.counts) == OUTCOMES


def test_levels_are_reached_where_all_of_their_rows_passed():
    assert reached(report(*ALL)) == list(LEVELS)
    assert report(*ALL).levels["images"] == Level(True, "", passed=1)


@pytest.mark.parametrize("outcome", ["refused", "failed", "known"])
@pytest.mark.parametrize("level", LEVELS)
def test_one_row_that_did_not_pass_takes_its_level_and_no_other(level, outcome):
    wrong = row("wrong", *({level} - {"core"}), outcome=outcome, reason="the reason")
    found = report(*ALL, wrong)
    assert reached(found) == [name for name in LEVELS if name != level]
    why = found.levels[level].why
    assert why == f"1 {outcome}, such as {wrong.row if outcome == 'failed' else 'the reason'}"
    assert (found.levels[level].passed, asdict(found.levels[level])[outcome]) == (1, 1)


def test_a_failure_is_named_before_a_refusal():
    found = report(*ALL, row("r", outcome="refused", reason="no"), row("f", outcome="failed", reason="broke"))
    assert found.levels["core"].why == "1 refused, 1 failed, such as test_x.py::f"


def test_a_row_of_two_levels_holds_neither_back_where_it_is_refused():
    assert reached(report(*ALL, row("x", "images", "optimizers", outcome="refused"))) == list(LEVELS)


@pytest.mark.parametrize("outcome", ["failed", "known"])
def test_a_row_of_two_levels_that_fails_takes_both(outcome):
    assert reached(report(*ALL, row("x", "images", "optimizers", outcome=outcome))) == ["core", "sequences"]


@pytest.mark.parametrize("outcome", ["refused", "failed", "known"])
def test_a_row_of_another_package_takes_no_level(outcome):
    found = report(*ALL, row("x", "other packages"), row("y", "images", "other packages", outcome=outcome))
    assert reached(found) == list(LEVELS)
    assert found.counts[outcome] == 1


def test_no_level_is_reached_without_rows_or_by_some_of_them():
    for found in (report(), report(*ALL, whole=False)):
        assert reached(found) == []
        assert {level.why for level in found.levels.values()} == {"not all of its rows ran"}
    assert reached(report(*ALL[:2])) == ["core", "images"]


def test_the_last_lines_say_levels_only_of_a_whole_run():
    *levels, counts = report(*ALL, row("x", outcome="refused", reason="not yet")).lines()
    assert levels == [
        "core        not reached: 1 refused, such as not yet",
        "images      reached",
        "optimizers  reached",
        "sequences   reached",
    ]
    assert counts == "mine (mine 1.0, cpu): 4 passed, 1 refused, 0 failed, 0 known, in 2 s"
    assert list(report(*ALL, whole=False, quick=True).lines()) == [
        "mine (mine 1.0, cpu, quick): 4 passed, 0 refused, 0 failed, 0 known, in 2 s"
    ]


def test_the_json_has_every_fact_and_row():
    wrong = row("wrong", "images", outcome="failed", reason='a "quoted" < reason')
    told = json.loads(report(*ALL, wrong).to_json())
    assert list(told) == [
        *("backend", "framework", "device", "xtrain", "contract", "platform", "date"),
        *("quick", "whole", "seconds", *OUTCOMES, "levels", "rows"),
    ]
    assert (told["backend"], told["framework"], told["device"]) == ("mine", "mine 1.0", "cpu")
    assert (told["contract"], told["seconds"], told["failed"]) == (protocols.VERSION, 2.0, 1)
    assert (told["quick"], told["whole"]) == (False, True)
    assert list(told["levels"]) == list(LEVELS)
    assert set(told["levels"]["images"]) == {field.name for field in fields(Level)}
    assert told["rows"][-1] == {**asdict(wrong), "needs": ["images"]}
    assert len(told["rows"]) == 5


SVG = "{http://www.w3.org/2000/svg}"
GREEN, OCHRE, RED = "#2e7d32", "#8a6d00", "#c0392b"


def badge(found):
    """Its two texts and the colour of the right one."""
    svg = ET.fromstring(found.badge())
    assert svg.tag == f"{SVG}svg"
    left, right = (text.text for text in svg.iter(f"{SVG}text"))
    assert svg.find(f"{SVG}title").text == f"{left}: {right}"
    boxes = list(svg.iter(f"{SVG}rect"))
    assert int(boxes[0].get("width")) == int(boxes[1].get("x")) + int(boxes[1].get("width"))
    assert svg.get("width") == boxes[0].get("width")
    return left, right, boxes[1].get("fill")


def test_a_badge_is_green_with_all_levels_and_red_with_a_failure():
    assert badge(report(*ALL)) == ("xtrain mine", "core, images, optimizers, sequences", GREEN)
    assert badge(report(*ALL, row("x", outcome="failed"))) == ("xtrain mine", "failed", RED)
    foreign = row("x", "other packages", outcome="failed")
    assert badge(report(*ALL, foreign)) == ("xtrain mine", "failed", RED)


def test_a_badge_names_the_levels_that_are_reached():
    refused = row("x", "images", outcome="refused")
    assert badge(report(*ALL, refused)) == ("xtrain mine", "core, optimizers, sequences", OCHRE)
    known = row("x", "sequences", outcome="known")
    assert badge(report(*ALL, known)) == ("xtrain mine", "core, images, optimizers", OCHRE)
    assert badge(report()) == ("xtrain mine", "no level yet", OCHRE)


def test_a_name_in_the_badge_is_quoted():
    name = """a<b>&"c"'d'&lt;"""
    assert badge(report(*ALL, backend=name))[0] == f"xtrain {name}"


@pytest.mark.parametrize("name", ["report.json", "report", "a.b.json"])
def test_the_badge_lies_beside_the_json(name, tmp_path):
    found, path = report(*ALL), tmp_path / name
    beside = write(found, path)
    assert beside == path.with_suffix(".svg")
    assert sorted(tmp_path.iterdir()) == sorted({path, beside})
    assert json.loads(path.read_text())["passed"] == 4
    assert beside.read_text() == found.badge()


@pytest.fixture
def stated(tmp_path, monkeypatch):
    """What is known of a backend whose package has this conformance.toml."""

    def install(content, module, entry):
        package = tmp_path / module
        package.mkdir()
        (package / "__init__.py").write_text("")
        if content is not None:
            (package / "conformance.toml").write_bytes(
                content if isinstance(content, bytes) else content.encode()
            )
        info = tmp_path / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[xtrain.backends]\nstated = {entry}\n")
        monkeypatch.syspath_prepend(tmp_path)
        return deviations.known("stated")

    return install


ONE = '[[deviation]]\nrow = "test_a.py::b[c]"\nreason = "because"\nlink = "https://x/1"\n'


def test_the_file_is_optional(stated):
    assert stated(None, "kit_without", "kit_without.sub:PLUGIN") == {}


def test_an_empty_file_states_nothing(stated):
    assert stated("# nothing yet\n", "kit_empty", "kit_empty.sub:PLUGIN") == {}


def test_deviations_are_found_by_row(stated):
    two = ONE + ONE.replace("b[c]", "d").replace("because", "too")
    assert stated(two, "kit_two", "kit_two.backend:PLUGIN") == {
        "test_a.py::b[c]": Deviation("test_a.py::b[c]", "because", "https://x/1"),
        "test_a.py::d": Deviation("test_a.py::d", "too", "https://x/1"),
    }


def test_a_module_of_one_file_has_none(tmp_path, monkeypatch):
    (tmp_path / "kit_single.py").write_text("")
    info = tmp_path / "kit_single-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: kit_single\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[xtrain.backends]\nsingle = kit_single\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert deviations.known("single") == {}


WRONG = {
    "no_toml": ("[[deviation]\n", "can't be read"),
    "no_text": (b"\xff\xfe\x00", "can't be read"),
    "another_key": (ONE + '[[deviations]]\nrow = "x"\n', "has deviations, which is no key"),
    "a_table": ('[deviation]\nrow = "x"\n', "deviation = {'row': 'x'} is no list"),
    "a_number": ("deviation = 3\n", "deviation = 3 is no list"),
    "a_list_of_texts": ('deviation = ["x"]\n', "'x' is no deviation"),
    "without_reason": ('[[deviation]]\nrow = "x"\nlink = "y"\n', "is no deviation"),
    "without_link": ('[[deviation]]\nrow = "x"\nreason = "y"\n', "is no deviation"),
    "without_row": ('[[deviation]]\nlink = "x"\nreason = "y"\n', "is no deviation"),
    "one_more": (ONE + 'since = "1.0"\n', "is no deviation"),
    "a_link_that_is_no_text": ('[[deviation]]\nrow = "x"\nreason = "y"\nlink = 12\n', "is no deviation"),
    "an_empty_reason": ('[[deviation]]\nrow = "x"\nreason = " "\nlink = "z"\n', "is no deviation"),
    "twice": (ONE + ONE, "has test_a.py::b[c] twice"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_with_the_file_is_told_with_its_place(name, stated, tmp_path):
    content, problem = WRONG[name]
    with pytest.raises(UsageError) as raised:
        stated(content, f"kit_{name}", f"kit_{name}.sub")
    assert problem in raised.value.problem
    assert raised.value.where == tmp_path / f"kit_{name}" / "conformance.toml"
    assert len(raised.value.problem) < 200
