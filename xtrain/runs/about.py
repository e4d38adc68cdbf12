"""run.json: how a run was made, what decides its numbers, its data's facts, one entry for each session."""

import math
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from xtrain.data import DatasetInfo
from xtrain.errors import UsageError
from xtrain.recipe import Job, Recipe
from xtrain.runs import binding
from xtrain.runs.metrics import Record
from xtrain.spec.base import LARGEST
from xtrain.spec.parts import offer_of
from xtrain.spec.validation import validated
from xtrain.system import entry_points
from xtrain.system.files import read_json

FORMAT = 1
"""Of a run directory; format 0 has no number, no identity and no facts of the data in its run.json."""

_GROUP = "xtrain."
"""What the groups of entry points begin with."""

_KINDS: Mapping[str, type | tuple[type, ...]] = {
    "format": int,
    "name": str,
    "identity": dict,
    "data": dict,
    "recipe": dict,
    "parts": dict,
    "sessions": list,
}
_ENTRY_KINDS: Mapping[str, type | tuple[type, ...]] = {
    "backend": str,
    "threads": (int, type(None)),
    "exit": str,
    "seconds": (int, float),
    "epochs": int,
}


def made(job: Job, data_hash: str, identity: Mapping[str, Any]) -> Record:
    """What run.json says of a run that is made now, without its sessions."""
    others = _others(job)
    return {
        "format": FORMAT,
        "name": job.recipe.name,
        "identity": dict(identity),
        "data": {**asdict(job.data), "sha256": data_hash},
        "recipe": binding.deciding(job.recipe),
        **({"parts": others} if others else {}),
    }


def _others(job: Job) -> dict[str, str]:
    """The packages that parts of a job come from, by the parts: `{"data.stripes": "xtrain-example 1.0"}`."""
    recipe, section = job.recipe, job.recipe.data
    sections = (section.dataset, recipe.model, recipe.loss, recipe.schedule)
    steps = (*section.augment, *section.eval_transform, *recipe.observers)
    parts = (*sections, *steps, *(node.layer for node in job.model.walk()))
    offers = filter(None, map(offer_of, dict.fromkeys(map(type, parts))))
    return {f"{each.group}.{each.name}".removeprefix(_GROUP): entry_points.package(each) for each in offers}


def opened(facts: Record) -> Record:
    """The entry of a session that begins."""
    return {"started": _now(), **facts, "exit": "running"}


class About:
    """What run.json says. `UsageError` where it is damaged.

    Args:
        path: of the file.

    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self.values = _checked(read_json(path))
        except (OSError, ValueError) as error:
            raise UsageError(f"is damaged: {error}", where=path) from error

    @property
    def format(self) -> int:
        """Number of the format, 0 where there is none."""
        return int(self.values.get("format", 0))

    @property
    def sessions(self) -> list[Record]:
        """One entry for each time the run was started or resumed."""
        return list(self.values["sessions"])

    @property
    def facts(self) -> DatasetInfo | None:
        """Facts of the run's data; None in format 0."""
        if "data" not in self.values:
            return None
        given = {key: value for key, value in self.values["data"].items() if key != "sha256"}
        found = validated(DatasetInfo, given, where=self._path)
        if not _possible(found):
            raise UsageError("is damaged: no data has the facts that it names", where=self._path)
        return found

    @property
    def data_hash(self) -> str | None:
        """SHA-256 of the arrays that the run was made with; None in format 0."""
        return self.values["data"]["sha256"] if "data" in self.values else None

    @property
    def recipe_hash(self) -> str | None:
        """Hash of what decides the run's numbers, as it was when the run was made; None in format 0."""
        return binding.digest(self.values["recipe"]) if "recipe" in self.values else None

    @property
    def last_used(self) -> tuple[str, int | None] | None:
        """Backend and number of threads of the last session, else those that the run was made with."""
        for found in (*reversed(self.sessions), self.values.get("identity", {})):
            if "backend" in found:
                return found["backend"], found.get("threads")
        return None

    @property
    def epochs(self) -> int | None:
        """For how many epochs the last session was meant; None where none says it."""
        return next((each["epochs"] for each in reversed(self.sessions) if "epochs" in each), None)

    @property
    def uninstalled(self) -> str:
        """The packages that the run was made with and that offer its parts no more; empty where all do."""
        packages: dict[str, list[str]] = {}
        for part, package in self.values.get("parts", {}).items():
            group, _, name = part.partition(".")
            if name not in entry_points.offered(_GROUP + group):
                packages.setdefault(str(package), []).append(part)
        return ", ".join(f"{package} (for {', '.join(parts)})" for package, parts in packages.items())

    def check_recipe(self, recipe: Recipe, expected: str | None) -> None:
        """`UsageError` where the recipe decides other numbers than the one whose hash is expected.

        Args:
            recipe: of recipe.toml as it is now.
            expected: hash that the checkpoint carries, None where it carries none.

        """
        if "recipe" not in self.values:
            return
        if expected is not None:
            self.check_hash(expected)
        before = binding.renewed(self.values["recipe"], recipe, self._path)
        differences = binding.differences(before, binding.deciding(recipe))
        if differences:
            raise UsageError(
                f"is not the recipe that the run was trained with: {'; '.join(differences)}",
                where=self._path.with_name("recipe.toml"),
                remedy="put it back; or, if it was meant, begin a new run with "
                f'init_from = "{self._path.parent}"',
            )

    def check_hash(self, expected: str) -> None:
        """`UsageError` where a checkpoint carries another hash of what decides the numbers."""
        if "recipe" in self.values and expected != self.recipe_hash:
            raise UsageError(
                "its recipe is not the one that the checkpoint was trained with (its hash differs)",
                where=self._path,
                remedy="put run.json back as it was",
            )

    def check_backend(self, name: str) -> None:
        """`UsageError` where a checkpoint was computed by a backend that no session names."""
        if name not in {session.get("backend") for session in self.sessions}:
            raise UsageError(
                f"its sessions do not name the backend that computed the checkpoint, {name}",
                where=self._path,
                remedy="put run.json back as it was; to go on under another backend, say --backend",
            )

    def with_session(self, facts: Record, fresh: Record) -> Record:
        """With another entry; the one before it, if it never ended, was killed.

        A run of format 0 learns what `fresh`, from `made`, says.
        """
        sessions = self.sessions
        if sessions and sessions[-1].get("exit") == "running":
            sessions[-1] = {**sessions[-1], "exit": "killed"}
        known = self.values if self.format else {**fresh, **self.values, "format": FORMAT}
        return {**known, "sessions": [*sessions, opened(facts)]}

    def with_end(self, exit_: str, seconds: float, step: int) -> Record:
        """With the end of the last session."""
        *before, last = self.sessions
        ended = {**last, "exit": exit_, "ended": _now(), "seconds": round(seconds, 3), "to_step": step}
        return {**self.values, "sessions": [*before, ended]}


def _checked(found: Any) -> Record:
    """The values, of the kinds that are read here. `ValueError` names one that is not."""
    values = _table(found, "it", _KINDS)
    if values.get("format", 0) not in (0, FORMAT):
        raise ValueError(f"its format is {values['format']}, this xtrain reads 0 and {FORMAT}")
    needed = ("sessions", *(("identity", "data", "recipe") if values.get("format") else ()))
    missing = [key for key in needed if key not in values]
    if missing:
        raise ValueError(f"its {missing[0]} is missing")
    for entry in (*values["sessions"], values.get("identity", {})):
        _table(entry, "an entry of its sessions", _ENTRY_KINDS)
        for key in ("threads", "epochs"):
            count = entry.get(key)
            if count is not None and not 1 <= count <= LARGEST:
                raise ValueError(f"its {key} is {count}")
    if "data" in values:
        _table(values["data"], "its data", {"sha256": str})
        if "sha256" not in values["data"]:
            raise ValueError("its data has no sha256")
    return values


def _possible(found: DatasetInfo) -> bool:
    """True where data may have these facts."""
    counts = (found.train, found.test, len(found.class_names), *found.input_shape)
    figures = (*found.mean, *found.std)
    return (
        all(1 <= number <= LARGEST for number in counts)
        and all(map(math.isfinite, figures))
        and len(found.mean) == len(found.std) == found.input_shape[0]
    )


def _table(found: Any, what: str, kinds: Mapping[str, type | tuple[type, ...]]) -> Record:
    if not isinstance(found, dict):
        raise ValueError(f"{what} is no table")
    for key, kind in kinds.items():
        if key in found and (not isinstance(found[key], kind) or isinstance(found[key], bool)):
            raise ValueError(f"its {key} is {found[key]!r:.80}")
    return found


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
