"""A trace comes back to the bit; what is not the trace that was written is refused."""

import hashlib
import json

import numpy as np
import pytest
from parity_traces import LEVELS, made

from xtrain.errors import UsageError, XtrainError
from xtrain.parity import trace as traces
from xtrain.parity.trace import UNITS, digest, load, save


def bits(state):
    return {name: (value.dtype, value.shape, value.tobytes()) for name, value in state.items()}


def same(a, b):
    assert (a.facts, a.terms, a.batches) == (b.facts, b.terms, b.batches)
    assert [list(map(float.hex, row)) for row in a.losses] == [list(map(float.hex, row)) for row in b.losses]
    assert a.outcomes == b.outcomes
    assert a.tensors.keys() == b.tensors.keys()
    for level, draws in a.tensors.items():
        assert list(map(bits, draws)) == list(map(bits, b.tensors[level]))


@pytest.mark.parametrize("levels", [LEVELS, ("P0",), ("P1",), ("P3",), ("P5", "P6"), ()], ids="-".join)
def test_it_comes_back_to_the_bit(tmp_path, levels):
    whole = made("one", levels)
    save(whole, tmp_path / "a" / "trace")
    same(load(tmp_path / "a" / "trace"), whole)


def test_every_kind_of_number_comes_back_to_the_bit(tmp_path):
    state = {
        "float64": np.array([np.pi, -0.0, np.nan, np.inf, -np.inf, 5e-324]),
        "float32": np.array([[np.nan, 1e-45], [np.inf, -0.0]], dtype=np.float32),
        "float16": np.array([65504, 6e-8], dtype=np.float16),
        "whole": np.array([-(2**63), 2**63 - 1]),
        "none": np.zeros((0, 3)),
        "scalar": np.array(2.5),
        "ä/<b>": np.array([True]),
    }
    losses = [[np.nan, np.inf, 0.1, -0.0, 5e-324]] * len(UNITS)
    whole = made("one", tensors={level: [state] * len(UNITS) for level in ("P2", "P3", "P4")}, losses=losses)
    save(whole, tmp_path)
    same(load(tmp_path), whole)


def test_another_trace_is_replaced_whole(tmp_path):
    save(made("one"), tmp_path)
    save(made("two", ("P3",)), tmp_path)
    assert not list(tmp_path.glob("P2*"))
    same(load(tmp_path), made("two", ("P3",)))


def refused(folder):
    with pytest.raises(UsageError) as raised:
        load(folder)
    assert raised.value.exit_code == 2
    assert str(folder) in str(raised.value)
    assert "record it again: xtrain parity RECIPE --record" in str(raised.value)
    return str(raised.value)


@pytest.fixture
def folder(tmp_path):
    save(made("one"), tmp_path / "trace")
    return tmp_path / "trace"


FILES = ("batches.jsonl", "losses.jsonl", "outcomes.jsonl", "P2.0.safetensors", "P4.3.safetensors")


@pytest.mark.parametrize("name", FILES)
def test_a_changed_bit_is_refused(folder, name):
    path = folder / name
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    assert f"{name} is not the file that was written" in refused(folder)


@pytest.mark.parametrize("name", FILES)
def test_a_truncated_file_is_refused(folder, name):
    path = folder / name
    path.write_bytes(path.read_bytes()[:-1])
    assert f"{name} is not the file that was written" in refused(folder)


@pytest.mark.parametrize("name", [*FILES, "trace.json"])
def test_a_missing_file_is_refused(folder, name):
    (folder / name).unlink()
    assert name in refused(folder)


def test_no_folder_is_refused(tmp_path):
    refused(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    refused(tmp_path / "file")


JUNK = {
    "nothing": "",
    "half": '{"format": 1, "facts": {',
    "a list": "[]",
    "null": "null",
    "no facts": '{"format": 1}',
    "another format": '{"format": 99}',
    "deep": "[" * 100_000,
    "not text": "\udcff",
}


@pytest.mark.parametrize("text", JUNK.values(), ids=JUNK)
def test_junk_is_refused(folder, text):
    (folder / "trace.json").write_text(text, errors="surrogateescape")
    refused(folder)


SAID = {
    "backend": lambda about: about["facts"].update(backend="two"),
    "device": lambda about: about["facts"].update(device="gpu:0"),
    "threads": lambda about: about["facts"].update(threads=2),
    "versions": lambda about: about["facts"]["versions"].update(one="3"),
    "system": lambda about: about["facts"].update(system="another"),
    "levels": lambda about: about["facts"]["levels"].pop(0),
    "steps": lambda about: about["facts"].update(steps=4),
    "a fact more": lambda about: about["facts"].update(cores=2),
    "terms": lambda about: about["terms"].update(loss="another"),
    "a file less": lambda about: about["files"].pop("P4.4.safetensors"),
    "its hash": lambda about: about.update(sha256="0" * 64),
}


@pytest.mark.parametrize("change", SAID.values(), ids=SAID)
def test_whatever_is_changed_in_what_it_says_is_refused(folder, change):
    about = json.loads((folder / "trace.json").read_text())
    change(about)
    (folder / "trace.json").write_text(json.dumps(about))
    assert "trace.json is not the file that was written (its hash differs)" in refused(folder)


def test_the_layout_of_the_file_does_not_matter(folder):
    about = json.loads((folder / "trace.json").read_text())
    before = load(folder).sha256
    (folder / "trace.json").write_text(json.dumps(dict(reversed(about.items()))))
    assert load(folder).sha256 == before == about["sha256"]


@pytest.mark.parametrize("changes", [{"levels": LEVELS[:-1]}, {"losses": [[1.0] * 5] * 5}, {"threads": 2}])
def test_other_traces_have_other_hashes(folder, tmp_path, changes):
    save(made("one", **changes), tmp_path / "other")
    save(made("one"), tmp_path / "same")
    assert load(tmp_path / "other").sha256 != load(folder).sha256 == load(tmp_path / "same").sha256


def test_the_format_without_that_hash_is_refused(folder):
    about = json.loads((folder / "trace.json").read_text()) | {"format": 1}
    (folder / "trace.json").write_text(json.dumps({k: v for k, v in about.items() if k != "sha256"}))
    assert "its format is 1, this xtrain reads 2" in refused(folder)


def rewritten(folder, change):
    """What someone can write who also mends the hashes."""
    about = json.loads((folder / "trace.json").read_text())
    change(about)
    for name in about["files"] if isinstance(about["files"], dict) else ():
        if (folder / name).is_file():
            about["files"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    about["sha256"] = digest({name: about[name] for name in ("facts", "terms", "files")})
    (folder / "trace.json").write_text(json.dumps(about))


HOSTILE = {
    "no backend": lambda about: about["facts"].pop("backend"),
    "a backend that is a number": lambda about: about["facts"].update(backend=3),
    "a backend without a version": lambda about: about["facts"].update(backend="two"),
    "no recipe": lambda about: about["facts"].pop("recipe"),
    "another recipe": lambda about: about["facts"].update(recipe='name = "other"'),
    "no TOML": lambda about: about["facts"].update(
        recipe="[", recipe_sha256=hashlib.sha256(b"[").hexdigest()
    ),
    "levels of text": lambda about: about["facts"].update(levels="P1P2"),
    "levels of lists": lambda about: about["facts"].update(levels=[["P1"]]),
    "more steps": lambda about: about["facts"].update(steps=6),
    "more seeds": lambda about: about["facts"].update(seeds=6),
    "versions of text": lambda about: about["facts"].update(versions="1"),
    "facts of text": lambda about: about.update(facts="facts"),
    "terms of numbers": lambda about: about.update(terms=3),
    "files of text": lambda about: about.update(files="files"),
    "no files": lambda about: about.update(files={}),
    "a file beyond the folder": lambda about: about["files"].update({"../../etc/passwd": "0"}),
}


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE)
def test_hostile_facts_are_refused(folder, change):
    rewritten(folder, change)
    refused(folder)


LINES = {
    "losses.jsonl": [
        '{"losses": [1.0]}',
        '{"losses": "1234"}',
        '{"losses": null}',
        "{}",
        "7",
        '{"losses": [1,',
    ],
    "outcomes.jsonl": ['{"accuracy": "high"}', '{"accuracy": null}', '{"accuracy": []}', "[]", ""],
    "batches.jsonl": ['{"sha": 1}', "null", ""],
}


@pytest.mark.parametrize(("name", "line"), [(name, line) for name in LINES for line in LINES[name]])
def test_hostile_lines_are_refused(folder, name, line):
    (folder / name).write_text(f"{line}\n" if line else "")
    rewritten(folder, lambda about: None)
    refused(folder)


@pytest.mark.parametrize("content", [b"", b"\xff" * 8, (2**62).to_bytes(8, "little") + b"{}"])
def test_hostile_tensors_are_refused(folder, content):
    (folder / "P2.1.safetensors").write_bytes(content)
    rewritten(folder, lambda about: None)
    refused(folder)


def test_draws_of_other_tensors_are_refused(folder):
    for state in ({"fc1.weight": np.zeros(3)}, {}):
        traces.save_file(state, folder / "P2.1.safetensors")
        rewritten(folder, lambda about: None)
        assert "P2 has not the same tensors in every draw" in refused(folder)


def test_what_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(XtrainError, match="the trace can't be written: Not a directory") as raised:
        save(made("one"), tmp_path / "file" / "trace")
    assert raised.value.exit_code == 1


def test_a_full_disk_is_told(tmp_path, monkeypatch):
    def full(*_):
        raise traces.safetensors.SafetensorError("I/O error: No space left on device")

    monkeypatch.setattr(traces, "save_file", full)
    with pytest.raises(XtrainError, match=r"the trace can't be written: .*No space left"):
        save(made("one"), tmp_path)
