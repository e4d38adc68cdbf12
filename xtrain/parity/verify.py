"""What a rerun finds otherwise than a certificate has it.

On the same versions, system, device and threads everything is the same to the bit. Elsewhere rounding
differs, so each figure, and each backend's losses and accuracies, must keep within the bounds that were
recorded and those that were found. Where all tensors and losses are the same to the bit nevertheless, the
figures must be so too.
"""

from collections.abc import Iterator, Sequence

from xtrain.parity.certificate import Certificate
from xtrain.parity.compare import Row, reruns
from xtrain.parity.trace import Trace

_SURROUNDINGS = ("versions", "system", "device", "threads")
_ONE_ROW = ("P0", "P1", "P5", "P6")
"""Levels with one row for each pair; its item says what was found."""


def elsewhere(before: Certificate, now: Certificate) -> list[str]:
    """How versions, system, device and threads differ from those recorded, a line each."""
    return [
        f"{then.backend}: {name}: {then.facts[name]} recorded, {today.facts[name]} found"
        for then, today in zip(before.traces, now.traces, strict=True)
        for name in _SURROUNDINGS
        if then.facts[name] != today.facts[name]
    ]


def to_the_bit(before: Certificate, now: Certificate) -> bool:
    """True where the figures must be the same to the bit."""
    same = all(a.files == b.files for a, b in zip(before.traces, now.traces, strict=True))
    return same or not elsewhere(before, now)


def differences(before: Certificate, now: Certificate) -> list[str]:
    """What a rerun found otherwise, a line each; nothing where the certificate is confirmed."""
    exact, found = to_the_bit(before, now), []
    for then, today in zip(before.traces, now.traces, strict=True):
        found += [f"{then.backend}: {name} is not what was recorded" for name in _other_facts(then, today)]
        if exact:
            found += [f"{then.backend}: {name} is not the same to the bit" for name in _other(then, today)]
        else:
            found += [
                f"{then.backend}: {row.level}, {row.item}: {row.error:.3g} from what was recorded, "
                f"{row.allowed:.3g} is allowed"
                for row in reruns(then, today, now.margin)
                if not row.holds
            ]
    return found + list(_other_figures(before.rows, now.rows, exact))


def _other_facts(then: Trace, today: Trace) -> list[str]:
    names = sorted((then.facts.keys() | today.facts.keys()) - set(_SURROUNDINGS))
    return [name for name in names if then.facts.get(name) != today.facts.get(name)]


def _other(then: Trace, today: Trace) -> list[str]:
    names = sorted(then.files.keys() | today.files.keys())
    files = [name for name in names if then.files.get(name) != today.files.get(name)]
    return files if then.terms == today.terms else ["terms", *files]


def _other_figures(before: Sequence[Row], now: Sequence[Row], exact: bool) -> Iterator[str]:
    then, today = ({_key(row, exact): row for row in rows} for rows in (before, now))
    for owner, rows, others in (("certificate", today, then), ("rerun", then, today)):
        lacking = [key for key in rows if key not in others]
        if lacking:
            yield f"{len(lacking)} figures are not in the {owner}: {_name(rows[lacking[0]])}"
    agree = _equal if exact else _within
    different = [(then[key], today[key]) for key in then if key in today and not agree(then[key], today[key])]
    if different:
        recorded, found = different[0]
        yield (
            f"{len(different)} figures are not those recorded: {_name(recorded)}: "
            f"{_numbers(recorded)} recorded, {_numbers(found)} found"
        )


def _key(row: Row, exact: bool) -> tuple[str, ...]:
    return (row.level, *row.pair) if not exact and row.level in _ONE_ROW else (row.level, *row.pair, row.item)


def _equal(then: Row, today: Row) -> bool:
    return repr(then) == repr(today)  # a NaN is itself again, and differs from itself


def _within(then: Row, today: Row) -> bool:
    """Each difference keeps within both bounds; false for NaN."""
    errors, bounds = (then.error, today.error), (then.allowed, today.allowed)
    return all(error <= bound for error in errors for bound in bounds)


def _name(row: Row) -> str:
    return f"{row.level} {', '.join(row.pair)}, {row.item}"


def _numbers(row: Row) -> str:
    return f"{row.error!r} (noise {row.noise!r}, allowed {row.allowed!r})"
