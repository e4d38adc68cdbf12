"""The certificate comes back as it was, says what a rerun found otherwise, and is a page of its own."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from parity_traces import EPSILON, LEVELS, made
from recipe_values import small_job

from xtrain.errors import UsageError
from xtrain.parity import page
from xtrain.parity.certificate import Certificate, differences
from xtrain.parity.compare import compare
from xtrain.parity.outcome import MARGIN
from xtrain.parity.trace import UNITS


def certificate(*traces):
    return Certificate.of(traces, compare(traces, small_job()), MARGIN)


@pytest.fixture
def right():
    return certificate(made("one"), made("two"), made("three"))


def wrong():
    """Of which one figure is not finite and one beyond its bound."""
    losses = [[value * (1 + 1e-3) for value in row] for row in made("two").losses]
    return certificate(made("one"), made("two", losses=losses, outcomes=[0.1, 0.2, 0.9]))


def loaded(given, path):
    given.save(path)
    return Certificate.load(path)


@pytest.mark.parametrize("levels", [LEVELS, ("P0",), ("P2", "P3"), ("P5",)], ids="-".join)
def test_it_comes_back_as_it_was(tmp_path, levels):
    whole = certificate(made("one", levels), made("two", levels))
    again = loaded(whole, tmp_path / "parity.json")
    assert again == whole
    assert again.holds
    assert differences(whole, again) == []


def test_what_does_not_hold_comes_back_too(tmp_path):
    again = loaded(wrong(), tmp_path / "parity.json")
    assert again == wrong()
    assert not again.holds
    infinite = replace(wrong(), rows=(replace(wrong().rows[0], error=float("inf")),))
    assert loaded(infinite, tmp_path / "parity.json") == infinite
    nan = replace(wrong(), rows=(replace(wrong().rows[0], error=float("nan")),))
    again = loaded(nan, tmp_path / "parity.json")
    assert np.isnan(again.rows[0].error)
    assert not again.holds
    assert differences(nan, again) == []


def test_without_a_figure_nothing_holds(right):
    assert not replace(right, rows=()).holds


def test_what_the_file_says_of_holding_is_not_believed(tmp_path):
    path = tmp_path / "parity.json"
    wrong().save(path)
    told = json.loads(path.read_text())
    assert told["holds"] is False
    told["holds"] = True
    told["rows"] = [row | {"holds": True} for row in told["rows"]]
    path.write_text(json.dumps(told))
    assert not Certificate.load(path).holds


def test_each_thing_that_a_rerun_finds_otherwise_is_a_line(right):
    newer = replace(
        right, facts=(right.facts[0], right.facts[1] | {"versions": {"two": "3"}}, right.facts[2])
    )
    (line,) = differences(right, newer)
    assert line.startswith("two: versions were {'xtrain': '1', 'two': '2'}, are {'two': '3'}")
    losses = {name: [list(row) for row in draws] for name, draws in right.losses.items()}
    losses["three"][3][4] *= 1 + 2.0**-52
    assert differences(right, replace(right, losses=losses)) == [
        "three: losses are not those recorded, to the bit"
    ]
    outcomes = right.outcomes | {"one": [0.91, 0.93, 0.93]}
    (line,) = differences(right, replace(right, outcomes=outcomes))
    assert line == "one: accuracies were [0.91, 0.93, 0.92], are [0.91, 0.93, 0.93]"


def test_a_figure_below_the_trajectory_that_changed_is_a_line(right):
    place = next(i for i, row in enumerate(right.rows) if row.level == "P3")
    rows = list(right.rows)
    rows[place] = replace(rows[place], error=EPSILON)
    (line,) = differences(right, replace(right, rows=tuple(rows)))
    assert line == "1 figures are not those recorded: P3 one, two, fc1.weight"
    assert differences(replace(right, rows=tuple(rows)), right) == [line]
    (line,) = differences(right, replace(right, rows=right.rows[:-2]))
    assert line.startswith("2 figures are not those recorded: P6 ")


DAMAGED = {
    "nothing": lambda told: "",
    "half": lambda told: json.dumps(told)[:-10],
    "a list": lambda told: "[]",
    "deep": lambda told: "[" * 100_000,
    "another format": lambda told: json.dumps(told | {"format": 99}),
    "a trace": lambda told: json.dumps({"format": 1, "facts": told["facts"][0], "terms": {}, "files": {}}),
    "no facts": lambda told: json.dumps(told | {"facts": []}),
    "one backend": lambda told: json.dumps(told | {"facts": told["facts"][:1]}),
    "facts without a recipe": lambda told: json.dumps(
        told | {"facts": [{k: v for k, v in facts.items() if k != "recipe"} for facts in told["facts"]]}
    ),
    "another recipe": lambda told: json.dumps(
        told | {"facts": [facts | {"recipe": 'name = "other"'} for facts in told["facts"]]}
    ),
    "no losses": lambda told: json.dumps(told | {"losses": {}}),
    "a row of text": lambda told: json.dumps(told | {"rows": ["row"]}),
    "an error of text": lambda told: json.dumps(told | {"rows": [told["rows"][0] | {"error": "small"}]}),
    "a pair of three": lambda told: json.dumps(
        told | {"rows": [told["rows"][0] | {"pair": ["a", "b", "c"]}]}
    ),
    "a margin of text": lambda told: json.dumps(told | {"margin": "wide"}),
}


@pytest.mark.parametrize("damage", DAMAGED.values(), ids=DAMAGED)
def test_what_is_no_certificate_is_refused(damage, right, tmp_path):
    path = tmp_path / "parity.json"
    right.save(path)
    path.write_text(damage(json.loads(path.read_text())))
    with pytest.raises(UsageError, match="is no certificate") as raised:
        Certificate.load(path)
    assert str(path) in str(raised.value)
    assert "give a parity.json that xtrain parity wrote" in str(raised.value)


def test_no_file_is_refused(tmp_path):
    for path in (tmp_path / "nowhere.json", tmp_path):
        with pytest.raises(UsageError, match="is no certificate"):
            Certificate.load(path)


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


def test_the_page_needs_no_other_file_and_runs_nothing(right):
    for given in (right, wrong()):
        read = self_contained(page.page(given))
        assert read.tags.count("svg") == 1
        for row in given.rows:
            assert row.item in read.text


def test_the_page_says_what_the_certificate_says(right, tmp_path):
    page.save(right, tmp_path / "parity.html")
    held = (tmp_path / "parity.html").read_text(encoding="utf-8")
    assert "<title>small: parity holds</title>" in held
    assert "does not hold" not in held
    failed = page.page(wrong())
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
