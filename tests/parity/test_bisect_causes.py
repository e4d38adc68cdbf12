"""Every known difference is found where it is, and called by its name; docs/parity.md has the table."""

import pytest

from tests.parity.differences import CASES, Case
from xtrain import plugins
from xtrain.parity.bench import Bench
from xtrain.parity.bisect import find, observe
from xtrain.parity.causes import Situation
from xtrain.parity.walk import lead
from xtrain.training.assembly import load_data

STEPS = (1, 2)


def bisected(right, wrong, job):
    """As `xtrain bisect` does it, in one process: all these backends are NumPy's."""
    arrays = load_data(job, None)
    leaders = lead(Bench(right, job, arrays), STEPS)
    ours, theirs = (observe(backend, job, arrays, leaders) for backend in (right, wrong))
    reference = plugins.load("numpy")

    def situate(number):
        return Situation(reference, job, arrays, number, leaders[number], ours[number][0])

    return find(("right", "wrong"), ours, theirs, situate)


@pytest.mark.parametrize("name", CASES)
def test_a_known_difference_is_found_and_named(name):
    case: Case = CASES[name]
    found = bisected(plugins.load("numpy"), case.backend, case.job)
    assert found is not None
    assert (found.phase, found.layer) == (case.phase, case.layer), found
    assert found.causes == ((case.cause,) if case.cause else ()), found
    row = f"| {name} | {found.step} | {found.phase} | {found.row.item} | {'; '.join(found.causes)} |"
    print(row)  # noqa: T201 - the table of the docs, with -s


@pytest.mark.parametrize("changes", {str(case.changes): case.changes for case in CASES.values()}.values())
def test_the_reference_does_not_diverge_from_itself(changes):
    job = Case(CASES["mirrored"].plugin, "", "", "", changes).job
    assert bisected(plugins.load("numpy"), plugins.load("numpy"), job) is None
