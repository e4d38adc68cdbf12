"""The opcodes of a pickle, looked at before anything is built.

Refused is what would hang, crash or fill the process that unpickles: other opcodes than arrays need, too many
of them, deep nesting, a length beyond the file's end, a memo with gigabytes of holes, tuples that hold
one another so often that a hash of them has no end.
"""

import mmap
import pickle
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import IO

_DEEPEST = 32
_MOST = 1 << 19
"""Opcodes, and memo entries; the training images of CIFAR-100 have some 200,000."""
_MOST_VALUES = 1 << 24
_LONGEST_NUMBER = 32
"""Bytes or digits of one integer."""


@dataclass(frozen=True)
class _Value:
    """What is known of a value: how deeply it is nested, how large it is, what may be done with it."""

    depth: int = 0
    size: int = 1
    """Values in it, one that is there twice counted twice, as hashing it would meet them."""
    open: bool = False
    """True for a list or dictionary that has no other name yet, so it can't become part of itself."""
    named: bool = False
    """True for a global, which is used as it is."""


_PLAIN, _OPEN, _NAMED = _Value(), _Value(open=True), _Value(named=True)


@dataclass(frozen=True)
class _Opcode:
    """How an opcode is written and what it does to the stack."""

    name: str
    width: int
    """Bytes of the number that follows, below 0 where a line does."""
    counts: bool
    """True where the number is the length of what follows it."""
    taken: int
    """Values it takes from the stack, those above a mark not counted."""
    marked: bool
    """True where it takes all above the last mark too."""
    gives: _Value | None
    """What it puts on the stack where that depends on nothing there."""

    @property
    def extends(self) -> bool:
        """True where the first value taken is a list or dictionary, given back longer."""
        return self.name in {"APPEND", "APPENDS", "SETITEM", "SETITEMS"}


_READ = re.compile(
    "PROTO|FRAME|STOP|MARK|NONE|NEWTRUE|NEWFALSE|(BIN)?(INT|FLOAT)|BININT[12]|LONG[14]?|(SHORT_)?(BIN)?STRING"
    "|(SHORT_)?(BIN)?UNICODE8?|(SHORT_)?BINBYTES8?|(EMPTY_)?(LIST|TUPLE|DICT)|TUPLE[123]|APPENDS?|SETITEMS?"
    "|(STACK_)?GLOBAL|REDUCE|BUILD|(LONG_)?(BIN)?(PUT|GET)|MEMOIZE"
)
"""Names of the opcodes that arrays, numbers, texts, lists and dictionaries need."""
_WIDTHS = {-2: 1, -3: 4, -4: 4, -5: 8}
"""Bytes of a length, by what pickletools calls it."""
_STORES = {"PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"}
_RECALLS = {"GET", "BINGET", "LONG_BINGET"}
_CONTAINERS = {"EMPTY_LIST", "LIST", "APPEND", "APPENDS", "EMPTY_DICT", "DICT", "SETITEM", "SETITEMS"}
_CONTAINERS |= {"REDUCE", "NEWOBJ", "BUILD"}  # an OrderedDict, say


@cache
def _opcodes(more: frozenset[str] = frozenset()) -> dict[int, _Opcode]:
    """The opcodes that are read, by their byte."""
    import pickletools  # noqa: PLC0415 - only where a pickle is read

    mark = pickletools.markobject
    found = {}
    for known in pickletools.opcodes:
        if _READ.fullmatch(known.name) or known.name in more:
            width = known.arg.n if known.arg else 0
            before, makes = known.stack_before, known.stack_after not in ([], [mark])
            given = {"GLOBAL": _NAMED, "EMPTY_LIST": _OPEN, "EMPTY_DICT": _OPEN}.get(known.name, _PLAIN)
            found[ord(known.code)] = _Opcode(
                known.name,
                _WIDTHS.get(width, width),
                width in _WIDTHS,
                before.index(mark) if mark in before else len(before),
                mark in before,
                given if makes and not before and known.name not in _RECALLS else None,
            )
    return found


@cache
def _plain_opcodes() -> dict[int, int]:
    """Bytes that follow, by opcode, where it gives a number: most opcodes of a file are of this kind."""
    return {
        byte: opcode.width
        for byte, opcode in _opcodes().items()
        if opcode.name in {"BININT", "BININT1", "BININT2", "BINFLOAT"}
    }


def check(file: IO[bytes], pickles: int = 1, more: frozenset[str] = frozenset()) -> int:
    """The size of a file, once the opcodes of the pickles that it begins with are known to be harmless.

    Args:
        file: open for reading; left at its start.
        pickles: how many follow one another, at most.
        more: names of opcodes that are read beside those that arrays need.

    Raises:
        pickle.UnpicklingError: they are not.

    """
    if not file.seek(0, 2):
        raise pickle.UnpicklingError("it is empty")
    file.seek(0)
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        end = 0
        for _ in range(pickles):
            end = scan(content, end, more) if end < len(content) else end
        return len(content)


def scan(content: bytes | mmap.mmap, start: int = 0, more: frozenset[str] = frozenset()) -> int:
    """Where a pickle ends that begins at `start`; `UnpicklingError` where it is not harmless."""
    found = _Scan(content, start, more)
    found.run()
    return found.at


class _Scan:
    """Goes through the opcodes as an unpickler would, with depths and sizes in the place of values."""

    def __init__(self, content: bytes | mmap.mmap, start: int, more: frozenset[str]) -> None:
        self.content, self.at, self.end = content, start, len(content)
        self.known, self.plain = _opcodes(more), _plain_opcodes()
        self.stack: list[_Value] = []
        self.marks: list[int] = []
        self.memo: dict[int, _Value] = {}
        self.values = 0

    def run(self) -> None:
        """Up to STOP."""
        known, plain = self.known, self.plain
        content, push = self.content, self.stack.append
        for _ in range(_MOST):
            if self.at >= self.end:
                raise pickle.UnpicklingError("it ends too early")
            byte = content[self.at]
            self.at += 1
            if byte in plain:
                self.at += plain[byte]
                push(_PLAIN)
            elif byte not in known:
                raise pickle.UnpicklingError(f"it has the opcode {bytes([byte])!r}, which no array needs")
            elif known[byte].name == "STOP":
                return
            else:
                self._apply(known[byte], self._argument(known[byte]))
        raise pickle.UnpicklingError(f"it has more than {_MOST:,} opcodes")

    def _argument(self, opcode: _Opcode) -> int:
        """Go behind an opcode's argument; its number, which is a length or a place in the memo."""
        if opcode.width < 0:
            return self._line(opcode.name)
        start = self.at
        self.at += opcode.width
        number = int.from_bytes(self.content[start : self.at], "little")
        if opcode.counts:
            self.at += number
            if number > _LONGEST_NUMBER and opcode.name in {"LONG1", "LONG4"}:
                raise pickle.UnpicklingError("it has a number of too many digits")
        if self.at + (number if opcode.name == "FRAME" else 0) > self.end:
            raise pickle.UnpicklingError("it ends before something whose length it gives")
        return number

    def _line(self, name: str) -> int:
        """Go behind a line, or the two of a global; the number in it, where it is a place in the memo."""
        start = self.at
        for _ in range(2 if name == "GLOBAL" else 1):
            self.at = self.content.find(b"\n", self.at) + 1
            if not self.at:
                raise pickle.UnpicklingError("it ends too early")
        if name in {"INT", "LONG", "PUT", "GET"} and self.at - start > _LONGEST_NUMBER:
            raise pickle.UnpicklingError("it has a number of too many digits")
        return int(self.content[start : self.at]) if name in {"PUT", "GET"} else 0

    def _apply(self, opcode: _Opcode, argument: int) -> None:
        name, stack = opcode.name, self.stack
        if opcode.gives is not None:
            stack.append(opcode.gives)
        elif name in _STORES:
            place = len(self.memo) if name == "MEMOIZE" else argument
            if place >= _MOST:
                raise pickle.UnpicklingError(f"its memo has more than {_MOST:,} places")
            value = stack[-1]
            self.memo[place] = replace(value, open=False) if value.open else value
        elif name in _RECALLS:
            if argument not in self.memo:
                raise pickle.UnpicklingError("it recalls what it did not store")
            stack.append(self.memo[argument])
        elif name == "MARK":
            self.marks.append(len(stack))
        elif opcode.taken or opcode.marked:
            self._combine(opcode)

    def _combine(self, opcode: _Opcode) -> None:
        """Take values and give what is made of them."""
        bottom = self.marks.pop() if opcode.marked else len(self.stack)
        first = bottom - opcode.taken
        if first < (self.marks[-1] if self.marks else 0):
            raise pickle.UnpicklingError("it takes more than there is")
        taken = self.stack[first:]
        del self.stack[first:]
        if opcode.name == "STACK_GLOBAL":
            self.stack.append(_NAMED)
            return
        target = taken[0] if opcode.extends else None
        inner = taken[1:] if opcode.extends else taken
        self._refuse(opcode.name, taken, target)
        size = sum([value.size for value in inner])
        self.values += size
        if self.values > _MOST_VALUES:
            raise pickle.UnpicklingError(f"it unpacks to more than {_MOST_VALUES:,} values")
        depth = 1 + max((value.depth for value in inner), default=0)
        depth = max(depth, target.depth) if target else depth
        if depth > _DEEPEST:
            raise pickle.UnpicklingError(f"it is nested more than {_DEEPEST} deep")
        size += target.size if target else 1
        self.stack.append(_Value(depth, size, open=opcode.name in _CONTAINERS))

    @staticmethod
    def _refuse(name: str, taken: Sequence[_Value], target: _Value | None) -> None:
        """What `pickle` would do and no file of arrays needs."""
        if target and not target.open:
            raise pickle.UnpicklingError("it extends what already has a place elsewhere")
        if name == "BUILD" and (taken[0].named or not taken[0].depth):
            raise pickle.UnpicklingError("it changes what it did not make")
        if name == "REDUCE" and not taken[0].named:
            raise pickle.UnpicklingError("it calls what has no name")
