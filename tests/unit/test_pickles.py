"""Small files that would hang, crash or fill the process that unpickles them are refused at once."""

import pickle
import struct
import subprocess
import sys
import time
import tracemalloc

import numpy as np
import pytest
from xtrain_paddle.pickles import FORMAT as PADDLE

from xtrain.data.cifar_python import FORMAT as CIFAR
from xtrain.errors import XtrainError
from xtrain.system import pickles
from xtrain.system.pickles import unpickle

START = b"\x80\x04"


def shared(levels):
    """A tuple that has the one below it twice, and so on: 2 to the power of `levels` values."""
    return b")" + b"".join(b"r%bj%b\x86" % (number, number) for number in map(place, range(levels)))


def place(number):
    return struct.pack("<I", number)


HOSTILE = {
    "a key nested deeply": (START + b"})" + b"\x85" * 200_000 + b"K\x01s.", "nested more than 32 deep"),
    "a key that holds itself often": (
        START + b"}" + shared(30) + b"K\x01s.",
        "unpacks to more than 16,777,216 values",
    ),
    "a value nested deeply": (
        START + b"}K\x01" + b"]" * 200_000 + b"a" * 199_999 + b"s.",
        "nested more than",
    ),
    "lists nested through the memo": (
        START
        + b"](]q\x00"
        + b"".join(b"]r%bj%bj%ba" % tuple(map(place, (n, n - 1, n))) for n in range(1, 99)),
        "extends what already has a place",
    ),
    "a memo of gigabytes": (START + b"}r\xff\xff\xff\x7f.", "its memo has more than"),
    "a memo of gigabytes, in digits": (START + b"}p2000000000\n.", "its memo has more than"),
    "bytes of terabytes": (
        START + b"}K\x01\x8e" + struct.pack("<Q", 1 << 42) + b"s.",
        "whose length it gives",
    ),
    "a text of gigabytes": (START + b"}K\x01X\xff\xff\xff\x7fs.", "whose length it gives"),
    "a frame of terabytes": (START + b"\x95" + struct.pack("<Q", 1 << 42) + b"}.", "whose length it gives"),
    "a number of a megabyte": (
        START + b"}K\x01\x8b" + place(1 << 20) + b"\x01" * (1 << 20) + b"s.",
        "digits",
    ),
    "a number of many digits": (START + b"}K\x01I" + b"1" * 4000 + b"\ns.", "too many digits"),
    "a million opcodes": (START + b"](" + b"N" * 1_000_000 + b"e.", "more than 524,288 opcodes"),
    "the attributes of a name": (START + b"cnumpy\nndarray\n}b.", "changes what it did not make"),
    "a set": (START + b"\x8f.", "opcode b'\\\\x8f', which no array needs"),
    "a persistent name": (START + b"Pname\n.", "opcode b'P'"),
    "a mark taken away": (START + b"(K\x01(R.", "takes more than there is"),
    "nothing to store": (START + b"q\x00.", "is not a"),
    "what was not stored": (START + b"h\x07.", "recalls what it did not store"),
    "no end": (START + b"}", "ends too early"),
}
KINDS = {"CIFAR": CIFAR, "Paddle": PADDLE}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("content", "problem"), HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_file_is_refused_at_once(content, problem, kind, tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(content)
    monkeypatch.setattr(pickles, "_Unpickler", None)  # nothing is built before
    start = time.perf_counter()
    with pytest.raises(XtrainError, match=problem) as caught:
        unpickle(path, KINDS[kind])
    assert time.perf_counter() - start < 1
    assert isinstance(caught.value, KINDS[kind].error)
    assert str(caught.value).startswith(f"{path}: is not a {kind} file: ")
    assert len(str(caught.value)) < 1000


def test_it_takes_little_memory(tmp_path):
    path = tmp_path / "file"
    tracemalloc.start()
    for name in ("a key nested deeply", "a memo of gigabytes", "bytes of terabytes", "a frame of terabytes"):
        path.write_bytes(HOSTILE[name][0])
        with pytest.raises(XtrainError):
            unpickle(path, CIFAR)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 << 20


def test_an_array_of_many_axes_is_refused(tmp_path):
    """The product of a million numbers would take minutes."""
    kind = b"cnumpy\ndtype\nX\x02\x00\x00\x00u1\x85R"
    shape = b"(" + b"M\xff\xff" * 100_000 + b"t"
    array = b"cnumpy.core.multiarray\n_reconstruct\n)R(K\x01" + shape + kind + b"\x89C\x00tb"
    (tmp_path / "file").write_bytes(START + b"}K\x01" + array + b"s.")
    with pytest.raises(XtrainError, match="its array has no shape"):
        unpickle(tmp_path / "file", PADDLE)


def test_a_text_is_not_unpacked_again_and_again(tmp_path):
    again = b"h\x00h\x01h\x02\x86R"
    content = START + b"}(K\x00c_codecs\nencode\nq\x00X" + place(10_000) + b"x" * 10_000 + b"q\x01"
    content += b"X" + place(6) + b"latin1q\x02\x86R"
    content += b"".join(b"J%b" % place(number) + again for number in range(1, 1000)) + b"u."
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(XtrainError, match="larger unpacked than the file"):
        unpickle(tmp_path / "file", PADDLE)


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_what_numpy_pickles_is_read(protocol, tmp_path):
    held = {f"layer{number}.weight": np.full((3, number), number, np.float32) for number in range(1, 300)}
    (tmp_path / "file").write_bytes(pickle.dumps(held, protocol=protocol))
    found = unpickle(tmp_path / "file", PADDLE)
    assert found.keys() == held.keys()
    for name, value in held.items():
        np.testing.assert_array_equal(found[name].values, value)


def test_a_fifo_is_not_waited_for(tmp_path):
    import os

    os.mkfifo(tmp_path / "file")
    code = (
        "import sys; from pathlib import Path; from xtrain.data.cifar_python import FORMAT;"
        "from xtrain.system.pickles import unpickle; unpickle(Path(sys.argv[1]), FORMAT)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "file"],
        timeout=60,
        capture_output=True,
        text=True,
        check=False,
    )
    assert f"{tmp_path / 'file'}: is not a regular file" in done.stderr
