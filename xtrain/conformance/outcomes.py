"""What becomes of a row: passed, refused, failed, or failed as the backend's package states it."""

import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from xtrain import plugins
from xtrain.conformance import deviations
from xtrain.conformance.cases import problems
from xtrain.conformance.levels import needs
from xtrain.conformance.plugin import BACKEND
from xtrain.conformance.report import Outcome, Report, Row, write
from xtrain.errors import UnsupportedError, XtrainError

_LETTERS = {"refused": "r", "known": "k"}


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("xtrain")
    group.addoption("--json", type=Path, metavar="FILE", help="write a JSON report and a badge")
    group.addoption("--quick", action="store_true", help="leave the thorough rows out")


@pytest.hookimpl(trylast=True)  # after `plugin`, which knows what is wrong with the backend
def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "thorough: left out by --quick; other rows find most of what it finds")
    config.addinivalue_line("markers", "needs(level): what the row needs besides its parameters")
    path: Path | None = config.getoption("--json")
    if path and not path.absolute().parent.is_dir():
        raise pytest.UsageError(f"--json {path}: there is no folder {path.absolute().parent}")
    if path and (path.is_dir() or path.suffix == ".svg"):
        raise pytest.UsageError(f"--json {path}: give the name of a file, such as conformance.json")
    try:
        known = deviations.known(config.getoption("--backend"))
    except XtrainError as error:
        raise pytest.UsageError(str(error)) from None
    config.pluginmanager.register(Outcomes(config, known), "xtrain outcomes")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--quick"):
        return
    thorough = [item for item in items if item.get_closest_marker("thorough")]
    config.hook.pytest_deselected(items=thorough)
    items[:] = [item for item in items if item not in thorough]


class Outcomes:
    """Judges each row where it runs, and collects them where the reports of all processes arrive.

    Args:
        config: of the session.
        known: the deviations that the backend's package states, by row.

    """

    def __init__(self, config: pytest.Config, known: dict[str, deviations.Deviation]) -> None:
        self._config, self._known = config, known
        self._rows: dict[str, Row] = {}
        self._began = time.perf_counter()
        self._last: list[str] = []

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Tell refusals and known failures from failures."""
        report = yield
        error = call.excinfo.value if call.excinfo else None
        outcome, reason = self._judged(report, error)
        if outcome in _LETTERS:
            report.outcome, report.longrepr = "skipped", (str(item.path), 0, reason)
        elif outcome == "failed" and report.outcome == "passed":
            report.outcome, report.longrepr = "failed", reason
        marked = {level for mark in item.iter_markers("needs") for level in mark.args}
        params = item.callspec.params.values() if hasattr(item, "callspec") else ()
        # What hangs on a report travels with it out of the processes of -n.
        report.__dict__["xtrain"] = [outcome, reason, sorted(marked | needs(params))]
        return report

    def _judged(self, report: pytest.TestReport, error: BaseException | None) -> tuple[Outcome, str]:
        deviation = self._known.get(report.nodeid) if report.when == "call" else None
        if isinstance(error, UnsupportedError):
            return "refused", error.problem
        if report.outcome == "failed":
            if deviation:
                return "known", f"{deviation.reason}; {deviation.link}"
            return "failed", (str(error).strip() or repr(error)).splitlines()[0]
        if deviation:
            return "failed", f"passes, and {deviations.FILE} says that it fails: take the row out of it"
        return "passed", ""

    def pytest_report_teststatus(self, report: Any) -> tuple[str, str, str] | None:
        """The letters of what pytest does not know."""
        outcome = getattr(report, "xtrain", [""])[0]
        return (outcome, _LETTERS[outcome], outcome.upper()) if outcome in _LETTERS else None

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Keep the row: of its call, and of what did not pass before or after it."""
        # One that a process of -n left behind when it died has not been judged.
        died = ["failed", str(report.longrepr), []]
        outcome, reason, needed = getattr(report, "xtrain", died)
        if report.when == "call" or outcome != "passed":
            seconds = round(report.duration, 3)
            self._rows[report.nodeid] = Row(report.nodeid, tuple(needed), outcome, seconds, reason)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Sum up, and write what is asked for. A deviation stated of a row that is not there is a failure."""
        if hasattr(self._config, "workerinput") or exitstatus == pytest.ExitCode.USAGE_ERROR:
            return
        ended = exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
        report = self._report(whole=ended and not self._selected())
        self._last = list(report.lines())
        if stale := self._known.keys() - self._rows.keys() if report.whole and not report.quick else ():
            self._last.append(f"{deviations.FILE} has rows that are not there: {', '.join(sorted(stale))}")
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        if path := self._config.getoption("--json"):
            try:
                self._last.append(f"report: {path}, badge: {write(report, path)}")
            except OSError as error:
                self._last.append(f"{path}: can't be written: {error.strerror}")
                session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """The levels, the counts and the time."""
        for line in (*self._last, *problems()):
            terminalreporter.write_line(line)

    def _selected(self) -> bool:
        """Whether the user chose among the rows."""
        chosen: tuple[str, ...] = ("keyword", "markexpr", "deselect", "ignore", "ignore_glob", "maxfail")
        chosen += ("collectonly", "setuponly")  # no row runs
        return any(self._config.getoption(name, None) for name in chosen) or len(self._config.args) > 1

    def _report(self, whole: bool) -> Report:
        backend = self._config.stash[BACKEND]
        probe = backend.probe()
        return Report(
            backend=backend.name,
            framework=f"{backend.framework or backend.name} {probe.version}",
            device=plugins.resolve_device(backend.name, self._config.getoption("--device"), probe.devices),
            quick=self._config.getoption("--quick"),
            whole=whole,
            seconds=time.perf_counter() - self._began,
            rows=list(self._rows.values()),
        )
