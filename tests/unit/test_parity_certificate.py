"""The certificate comes back as it was, believes no altered file, and is a page of its own."""

import json
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from parity_traces import EPSILON, LEVELS, made
from recipe_values import small_job

from tests.certificates import forged
from xtrain.errors import UsageError, XtrainError
from xtrain.parity import page
from xtrain.parity.certificate import Certificate
from xtrain.parity.compare import compare
from xtrain.parity.outcome import MARGIN
from xtrain.parity.trace import UNITS, digest, hash_of, load, save
from xtrain.parity.verify import differences, elsewhere, to_the_bit


def certificate(*traces):
    return Certificate.of(traces, compare(traces, small_job()), MARGIN)


@pytest.fixture
def recorded(tmp_path):
    """Traces as they come back from their folders, with the hashes of their files."""

    def record(*traces):
        for trace in traces:
            save(trace, tmp_path / "traces" / trace.backend)
        return certificate(*(load(tmp_path / "traces" / trace.backend) for trace in traces))

    return record


@pytest.fixture
def right(recorded):
    return recorded(made("one"), made("two"), made("three"))


@pytest.fixture
def wrong(recorded):
    """A certificate of which a figure is beyond its bound, and the outcomes' too."""
    losses = [[value * (1 + 1e-3) for value in row] for row in made("two").losses]
    return recorded(made("one"), made("two", losses=losses, outcomes=[0.1, 0.2, 0.9]))


def loaded(given, path):
    given.save(path)
    return Certificate.load(path)


@pytest.mark.parametrize("levels", [LEVELS, ("P0",), ("P2", "P3"), ("P5",)], ids="-".join)
def test_it_comes_back_as_it_was(tmp_path, recorded, levels):
    whole = recorded(made("one", levels), made("two", levels))
    again = loaded(whole, tmp_path / "parity.json")
    assert again == whole
    assert again.holds
    assert again.margin == (MARGIN if "P6" in levels else None)
    assert differences(whole, again) == []


def test_what_does_not_hold_comes_back_too(tmp_path, recorded, wrong):
    again = loaded(wrong, tmp_path / "parity.json")
    assert again == wrong
    assert not again.holds
    infinite = replace(wrong, rows=(replace(wrong.rows[0], error=float("inf")), *wrong.rows[1:]))
    assert loaded(infinite, tmp_path / "parity.json") == infinite
    nan = replace(wrong, rows=(replace(wrong.rows[0], error=float("nan")), *wrong.rows[1:]))
    again = loaded(nan, tmp_path / "parity.json")
    assert np.isnan(again.rows[0].error)
    assert not again.holds
    assert differences(nan, again) == []


@pytest.mark.filterwarnings("ignore:invalid value encountered")
def test_losses_that_are_no_numbers_come_back(tmp_path, recorded):
    given = recorded(*(made(name, losses=[[np.nan, np.inf, 1.0, 1.0, 1.0]] * 5) for name in ("one", "two")))
    assert repr(loaded(given, tmp_path / "parity.json").losses) == repr(given.losses)


def test_without_a_figure_nothing_holds(right):
    assert not replace(right, rows=()).holds


def test_it_has_the_hashes_of_its_traces_and_of_itself(tmp_path, right):
    right.save(tmp_path / "parity.json")
    told = json.loads((tmp_path / "parity.json").read_text())
    traces = {name: load(tmp_path / "traces" / name) for name in ("one", "two", "three")}
    assert {trace["facts"]["backend"]: trace["sha256"] for trace in told["traces"]} == {
        name: trace.sha256 for name, trace in traces.items()
    }
    assert told.pop("sha256") == digest(told)


def facts(told, **changes):
    for trace in told["traces"]:
        trace["facts"] |= changes


def of_level(told, level):
    return [row for row in told["rows"] if row["level"] == level]


def without(told, level):
    told["rows"] = [row for row in told["rows"] if row["level"] != level]


HASHED = "one: the hash of its trace is not that of its backend, device, threads, versions, system, recipe"
ALTERED = {
    "a relabelled backend": (
        lambda told: told["traces"][0]["facts"].update(backend="four"),
        ["four: the hash of its trace", "four: its versions have none of four", "P0 has no figure of four"],
    ),
    "versions": (lambda told: facts(told, versions={"one": "9", "two": "9", "three": "9"}), [HASHED]),
    "device": (lambda told: facts(told, device="gpu:0"), [HASHED]),
    "threads": (lambda told: facts(told, threads=8), [HASHED]),
    "system": (lambda told: facts(told, system="another"), [HASHED]),
    "a recipe with its hash": (
        lambda told: facts(told, recipe='name = "o"', recipe_sha256=hash_of('name = "o"')),
        [HASHED],
    ),
    "a recipe": (lambda told: facts(told, recipe='name = "o"'), [HASHED, "its recipe is not the one"]),
    "levels cut": (
        lambda told: facts(told, levels=["P0", "P1", "P2", "P5", "P6"]),
        [HASHED, "P3 has a figure of one, two, which were not compared there", "P4 has a figure of"],
    ),
    "the trajectory cut": (
        lambda told: facts(told, levels=["P0"]),
        [HASHED, "one: it has not the losses of levels P0 and 5 steps", "P5 has a figure of"],
    ),
    "a level more": (lambda told: without(told, "P4"), ["P4 has no figure of one, two"]),
    "steps cut": (lambda told: facts(told, steps=2), [HASHED, "one: it has not the losses of levels"]),
    "seeds cut": (lambda told: facts(told, seeds=2), [HASHED, "one: it has not the accuracies of levels"]),
    "losses": (
        lambda told: told["traces"][1]["losses"][0].__setitem__(0, 1.0),
        ["two: its losses are not those of its trace"],
    ),
    "accuracies": (
        lambda told: told["traces"][1].update(outcomes=[1.0, 1.0, 1.0]),
        ["two: its outcomes are not those of its trace"],
    ),
    "terms": (lambda told: told["traces"][0]["terms"].update(loss="another"), [HASHED]),
    "files": (lambda told: told["traces"][0]["files"].update({"P2.0.safetensors": "0"}), [HASHED]),
    "one backend": (
        lambda told: told.update(traces=told["traces"][:1]),
        ["it compares one, not two backends or more"],
    ),
    "no backend": (lambda told: told.update(traces=[]), ["it compares nothing"]),
    "all figures deleted": (lambda told: told.update(rows=[]), ["P0 has no figure of one, recipe"]),
    "a figure twice": (
        lambda told: told["rows"].append(of_level(told, "P3")[0]),
        ["P3 has step more than once"],
    ),
    "holds": (lambda told: told.update(holds=False), ["what it says of holding is not what its figures say"]),
    "a row's holds": (
        lambda told: told["rows"][4].update(holds=False),
        ["what it says of holding is not what its figures say"],
    ),
    "margin": (lambda told: told.update(margin=0.5), ["the margin is 0.5, not what level P6 allows"]),
    "no margin": (lambda told: told.update(margin=None), ["the margin is None, not what level P6 allows"]),
}


def altered(path):
    with pytest.raises(XtrainError, match="was altered after it was written: ") as raised:
        Certificate.load(path)
    assert raised.value.exit_code == 1
    assert str(path) in str(raised.value)
    assert "make it again: xtrain parity RECIPE" in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize(("change", "said"), ALTERED.values(), ids=ALTERED)
def test_what_contradicts_itself_is_named_though_its_own_hash_is_mended(tmp_path, right, change, said):
    path = tmp_path / "parity.json"
    right.save(path)
    forged(path, change)
    found = altered(path)
    assert [part for part in said if part not in found] == [], found


def test_a_margin_without_outcomes_is_named(tmp_path, recorded):
    path = tmp_path / "parity.json"
    recorded(made("one", ("P1",)), made("two", ("P1",))).save(path)
    forged(path, lambda told: told.update(margin=0.5))
    assert "the margin is 0.5, not what level P6 allows" in altered(path)


@pytest.mark.parametrize("what", ["figure", "anything"])
def test_an_edit_is_seen_by_its_hash(tmp_path, right, what):
    path = tmp_path / "parity.json"
    right.save(path)
    told = json.loads(path.read_text())
    told["rows"][0]["noise"] = 1e-9 if what == "figure" else 0.0
    path.write_text(json.dumps(told | ({} if what == "figure" else {"note": "a word"})))
    assert "its hash is not that of what it says" in altered(path)


def test_what_the_file_says_of_holding_is_not_believed(tmp_path, wrong):
    path = tmp_path / "parity.json"
    wrong.save(path)

    def flipped(told):
        assert told["holds"] is False
        told["holds"] = True
        told["rows"] = [row | {"holds": True} for row in told["rows"]]

    forged(path, flipped)
    assert "what it says of holding is not what its figures say" in altered(path)


def zeroed(told):
    for level in ("P2", "P3", "P4", "P5"):
        for row in of_level(told, level):
            row["error"] = row["noise"] = 0.0


def widened(told):
    for row in told["rows"]:
        row["allowed"] *= 1000 if row["level"] != "P6" else 1


def another_margin(told):
    told["margin"] = 0.5
    for row in of_level(told, "P6"):
        row["allowed"] = 0.5


def cut(told):
    facts(told, levels=["P1", "P5"])
    told["rows"] = [row for row in told["rows"] if row["level"] in ("P1", "P5")]
    told["margin"] = None
    for trace in told["traces"]:
        trace["outcomes"] = []
        trace["files"] = {name: value for name, value in trace["files"].items() if "jsonl" in name}


REFOUND = {
    "figures of 0": (zeroed, "figures are not those recorded: P2 one, two, step: 0.0 (noise 0.0,"),
    "a row deleted": (
        lambda told: told["rows"].remove(of_level(told, "P3")[1]),
        "1 figures are not in the certificate: P3 one, two, fc1.bias",
    ),
    "a row more": (
        lambda told: told["rows"].append(of_level(told, "P3")[0] | {"item": "fc9.weight"}),
        "1 figures are not in the rerun: P3 one, two, fc9.weight",
    ),
    "bounds widened": (widened, "figures are not those recorded: P2 one, two, step: "),
    "another margin": (another_margin, "3 figures are not those recorded: P6 one, two, 3 seeds"),
    "losses": (
        lambda told: told["traces"][2]["losses"][3].__setitem__(4, 0.4 * (1 + 2.0**-40)),
        "three: losses.jsonl is not the same to the bit",
    ),
    "accuracies": (
        lambda told: told["traces"][0].update(outcomes=[0.91, 0.93, 0.93]),
        "one: outcomes.jsonl is not the same to the bit",
    ),
    "a file": (
        lambda told: told["traces"][1]["files"].update({"P3.1.safetensors": "0"}),
        "two: P3.1.safetensors is not the same to the bit",
    ),
    "terms": (
        lambda told: told["traces"][1]["terms"].update(loss="another"),
        "two: terms is not the same to the bit",
    ),
    "levels": (cut, "one: levels is not what was recorded"),
    "seeds": (lambda told: facts(told, seeds=3, more=1), "one: more is not what was recorded"),
}


@pytest.mark.parametrize(("change", "said"), REFOUND.values(), ids=REFOUND)
def test_what_a_rerun_finds_otherwise_is_named_though_all_hashes_are_mended(tmp_path, right, change, said):
    path = tmp_path / "parity.json"
    right.save(path)
    forged(path, change, deep=True)
    before = Certificate.load(path)
    assert to_the_bit(before, right)
    found = differences(before, right)
    assert [line for line in found if said in line], found


def test_a_certificate_of_fewer_levels_is_one_of_fewer_levels(tmp_path, right, recorded):
    path = tmp_path / "parity.json"
    right.save(path)
    forged(path, cut, deep=True)
    rerun = recorded(*(made(name, ("P1", "P5")) for name in ("one", "two", "three")))
    assert Certificate.load(path).rows == rerun.rows


def by_noise(name, times=1.0, **changes):
    """What the same backend gives elsewhere: other roundings, and `times` of them."""
    tensors = [
        {key: value * (1 + times * EPSILON) if key != "step" else value for key, value in state.items()}
        for state in made(name).tensors["P2"]
    ]
    losses = [[value * (1 + times * EPSILON) for value in row] for row in made(name).losses]
    versions = {"xtrain": "1", name: "3"}
    moved = {"versions": versions, "tensors": dict.fromkeys(("P2", "P3", "P4"), tensors), "losses": losses}
    return made(name, **moved | changes)


def test_elsewhere_what_keeps_within_the_bounds_is_confirmed_and_said(right, recorded):
    other = recorded(by_noise("one"), by_noise("two", -1), made("three"))
    assert elsewhere(right, other) == [
        f"{name}: versions: {{'xtrain': '1', '{name}': '2'}} recorded, {{'xtrain': '1', '{name}': '3'}} found"
        for name in ("one", "two")
    ]
    assert not to_the_bit(right, other)
    assert right.rows != other.rows
    assert differences(right, other) == []
    assert differences(other, right) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"times": 2000.0}, "one: P5, step 1 of 5: 0.000238 from what was recorded"),
        ({"outcomes": [0.95, 0.97, 0.96]}, "one: P6, 3 seeds of "),
        ({"steps": 5, "seeds": 3, "device": "gpu:0", "batches": ["0"] * 5}, "are not those recorded: P1 one"),
    ],
)
def test_elsewhere_what_is_beyond_them_is_named(right, recorded, change, said):
    other = recorded(by_noise("one", **change), made("two"), made("three"))
    found = differences(right, other)
    assert [line for line in found if said in line], found


def test_elsewhere_a_figure_beyond_the_bound_that_was_found_is_named(right, recorded):
    other = recorded(by_noise("one"), by_noise("two", -1), made("three"))
    place = next(i for i, row in enumerate(right.rows) if row.level == "P3")
    lenient = replace(right.rows[place], error=1.0, allowed=2.0)
    before = replace(right, rows=(*right.rows[:place], lenient, *right.rows[place + 1 :]))
    (line,) = differences(before, other)
    assert line.startswith("1 figures are not those recorded: P3 one, two, step: 1.0 (noise")


def test_where_every_file_is_the_same_the_figures_must_be_though_the_versions_differ(right):
    versions = {"one": "9", "two": "9", "three": "9"}
    newer = [replace(trace, facts={**trace.facts, "versions": versions}) for trace in right.traces]
    now = replace(right, traces=tuple(newer))
    assert len(elsewhere(right, now)) == 3
    assert differences(right, now) == []
    rows = tuple(replace(row, error=0.0, noise=0.0) for row in right.rows)
    assert "figures are not those recorded" in differences(replace(right, rows=rows), now)[0]


DAMAGED = {
    "nothing": lambda told: "",
    "half": lambda told: json.dumps(told)[:-10],
    "a list": lambda told: "[]",
    "deep": lambda told: "[" * 100_000,
    "another format": lambda told: json.dumps(told | {"format": 99}),
    "a trace": lambda told: json.dumps({"format": 2, "facts": {}, "terms": {}, "files": {}}),
}
UNREADABLE = {
    "facts without a recipe": lambda told: [trace["facts"].pop("recipe") for trace in told["traces"]],
    "threads of text": lambda told: facts(told, threads="four"),
    "no losses": lambda told: told["traces"][0].pop("losses"),
    "losses of text": lambda told: told["traces"][0].update(losses=[["low"]]),
    "files of text": lambda told: told["traces"][0].update(files="files"),
    "no files": lambda told: told["traces"][0].update(files={}),
    "traces of text": lambda told: told.update(traces="traces"),
    "a row of text": lambda told: told.update(rows=["row"]),
    "an error of text": lambda told: told["rows"][0].update(error="small"),
    "a pair of three": lambda told: told["rows"][0].update(pair=["a", "b", "c"]),
    "a level that is a list": lambda told: told["rows"][0].update(level=["P0"]),
    "a margin of text": lambda told: told.update(margin="wide"),
}


def refused(path):
    with pytest.raises(UsageError, match="is no certificate") as raised:
        Certificate.load(path)
    assert str(path) in str(raised.value)
    assert "give a parity.json that xtrain parity wrote" in str(raised.value)


@pytest.mark.parametrize("damage", DAMAGED.values(), ids=DAMAGED)
def test_what_is_no_certificate_is_refused(damage, right, tmp_path):
    path = tmp_path / "parity.json"
    right.save(path)
    path.write_text(damage(json.loads(path.read_text())))
    refused(path)


@pytest.mark.parametrize("change", UNREADABLE.values(), ids=UNREADABLE)
def test_what_cannot_be_read_is_refused(change, right, tmp_path):
    path = tmp_path / "parity.json"
    right.save(path)
    forged(path, change)
    refused(path)


def test_the_format_without_hashes_is_refused(tmp_path):
    (tmp_path / "parity.json").write_text('{"format": 1, "holds": true, "facts": []}')
    with pytest.raises(UsageError, match="of format 1, which has no hashes and can't be verified") as raised:
        Certificate.load(tmp_path / "parity.json")
    assert "make it again: xtrain parity RECIPE" in str(raised.value)


def test_no_file_is_refused(tmp_path):
    for path in (tmp_path / "nowhere.json", tmp_path):
        refused(path)


class Loaded(HTMLParser):
    """Tags, and what they would make a browser fetch or run."""

    _VOID = ("meta", "link", "img", "br")

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.fetched, self.text = [], [], [], ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag not in self._VOID:
            self.open.append(tag)
        for name, value in attributes:
            if name.startswith("on") or (
                name in ("src", "href", "xlink:href", "data", "action", "srcset")
                and not (value or "").startswith("#")
            ):
                self.fetched.append((tag, name, value))

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in self._VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def self_contained(text):
    read = Loaded(text)
    assert read.open == []
    assert read.fetched == []
    assert not {"script", "link", "img", "iframe", "object", "embed", "base", "form"} & set(read.tags)
    assert not re.search(r"@import|url\(\s*['\"]?(?!#)", text)
    return read


def test_the_page_needs_no_other_file_and_runs_nothing(right, wrong):
    for given in (right, wrong):
        read = self_contained(page.page(given))
        assert read.tags.count("svg") == 1
        for row in given.rows:
            assert row.item in read.text


def test_the_page_does_without_its_picture(right, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    text = page.page(right)
    assert "<p>No picture: the picture of a certificate needs matplotlib, which is not installed.</p>" in text
    assert "no picture in the page" in caplog.text


def test_the_page_says_what_the_certificate_says(right, wrong, tmp_path):
    page.save(right, tmp_path / "parity.html")
    held = (tmp_path / "parity.html").read_text(encoding="utf-8")
    assert "<title>small: parity holds</title>" in held
    assert "does not hold" not in held
    failed = page.page(wrong)
    assert "<title>small: parity does not hold</title>" in failed
    assert failed.count("<td class=no>does not hold</td>") == 4  # P5 and P6, in both tables


def test_without_a_trajectory_there_is_no_figure():
    read = self_contained(page.page(certificate(made("one", ("P1", "P2")), made("two", ("P1", "P2")))))
    assert "svg" not in read.tags


MARKUP = "<script>alert(1)</script><img src=http://x onerror=y>&amp;\"'"


def test_names_with_markup_are_text():
    state = [{MARKUP: np.ones(2)}] * len(UNITS)
    versions = {MARKUP: MARKUP}
    traces = [
        made(
            f"{name}{MARKUP}",
            device=MARKUP,
            system=MARKUP,
            versions=versions,
            tensors=dict.fromkeys(("P2", "P3", "P4"), state),
        )
        for name in ("one", "two")
    ]
    read = self_contained(page.page(certificate(*traces)))
    assert read.text.count(MARKUP) >= 8


def test_a_hash_with_markup_is_text():
    facts = {"recipe_sha256": "<script>alert(1)"}
    read = self_contained(page.page(certificate(made("one", **facts), made("two", **facts))))
    assert "<script>alert(1)" in read.text
