"""Where the files of a data set are: found below a data root and checked, or downloaded.

The roots, in order: the data directory that is asked for, `$XTRAIN_DATA`, the user's cache directory. Below
a root the files of a data set lie in `<root>/<data set>/`; where they are published as an archive they may
lie in the folder that unpacking it there makes, and an archive alone is unpacked beside itself. The first
root that has all files is taken.

Where no root has them they are downloaded into the data directory that is asked for, else `$XTRAIN_DATA` if
it can be written to, else the cache directory. Archives are kept. Files that are there are never replaced.
What is not whole yet lies in a hidden folder beside them, which the next attempt removes if one is killed.
"""

import errno
import gzip
import hashlib
import logging
import os
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

import platformdirs

from xtrain.errors import DataError

_log = logging.getLogger(__name__)
_VARIABLE = "XTRAIN_DATA"
_TIMEOUT = (10, 60)  # seconds to connect, and between two pieces of an answer
_PIECE = 1 << 20  # bytes
_LARGEST = 4 << 30  # bytes of a download whose size is not known
_SCRATCH = ".download-"
"""Begins the names of what is beside the files for the time of a download alone."""


@dataclass(frozen=True)
class Published:
    """What is known of a published file.

    Args:
        md5: its MD5.
        sha256: its SHA-256, which is compared in place of the MD5 where it is known.
        size: its bytes, which a download may not exceed.

    """

    md5: str
    sha256: str | None = None
    size: int | None = None


@dataclass(frozen=True, kw_only=True)
class Archive:
    """A .tar.gz with all files of a data set in one `folder`."""

    name: str
    published: Published
    folder: str


@dataclass(frozen=True, kw_only=True)
class Source:
    """The published files of a data set.

    Args:
        folder: where they lie below a data root.
        files: what is known of each file that is read, by name.
        mirrors: URLs that a file's (or the archive's) name is put behind, the first tried first.
        archive: what the files come in, where they are not published one by one.

    """

    folder: str
    files: Mapping[str, Published]
    mirrors: tuple[str, ...]
    archive: Archive | None = None

    @property
    def downloads(self) -> Mapping[str, Published]:
        """What is known of each file that is downloaded, by name."""
        return {self.archive.name: self.archive.published} if self.archive else self.files


def locate(source: Source, data_dir: Path | None) -> dict[str, Path]:
    """Path of each file of `source.files`, found or downloaded, and checked against its published hash.

    Raises:
        DataError: a file is missing and can't be downloaded, or is not the published one.

    """
    folder = next(filter(None, (_folder(source, root) for root in roots(data_dir))), None)
    if folder is None:
        root = _download(source, data_dir)
        folder = _folder(source, root)
        if folder is None:
            raise DataError("its files are gone again", where=root / source.folder)
    paths = {name: folder / name for name in source.files}
    remedy = (
        f"delete it, and it is fetched anew from {source.mirrors[0]}; or put the published file in its place"
    )
    check({paths[name]: published for name, published in source.files.items()}, remedy=remedy)
    return paths


def check(files: Mapping[Path, Published], remedy: str) -> None:
    """Compare each file with its hash; `DataError` for the first one that differs or can't be read."""
    with ThreadPoolExecutor() as threads:  # hashing lets other threads run
        problems = list(threads.map(_difference, files, files.values()))
    for path, problem in zip(files, problems, strict=True):
        if problem:
            raise DataError(problem, where=path, remedy=remedy)


def _difference(path: Path, published: Published) -> str:
    """Why a file is not the published one; empty where it is."""
    name, kind = ("SHA-256", hashlib.sha256) if published.sha256 else ("MD5", _md5)
    expected = published.sha256 or published.md5
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, kind).hexdigest()
            size = os.fstat(file.fileno()).st_size
    except OSError as error:
        raise DataError(f"can't be read: {error.strerror}", where=path) from error
    if found == expected:
        return ""
    return f"is not the published file: its {size:,} bytes have {name} {found}, not {expected}"


_md5 = partial(hashlib.md5, usedforsecurity=False)


def roots(data_dir: Path | None) -> list[Path]:
    """Where data sets are looked for, in this order."""
    variable = os.environ.get(_VARIABLE)
    roots = [data_dir, Path(variable) if variable else None, _cache()]
    return [root.absolute() for root in roots if root is not None]


def _cache() -> Path:
    return platformdirs.user_cache_path("xtrain")


def _download_root(data_dir: Path | None) -> Path:
    first, *_, last = [*roots(data_dir), _cache()]
    return first if data_dir or _writable(first) else last


def _writable(root: Path) -> bool:
    existing = next(folder for folder in (root, *root.parents) if os.path.exists(folder))
    return existing.is_dir() and os.access(existing, os.W_OK)


def _folder(source: Source, root: Path) -> Path | None:
    """The folder below `root` that has all files, unpacked if need be."""
    base = root / source.folder
    archive = source.archive
    for folder in (base / archive.folder, base) if archive else (base,):
        if all(os.path.isfile(folder / name) for name in source.files):
            return folder
    if archive and os.path.isfile(base / archive.name):
        return _unpack(base / archive.name, source.files, archive)
    return None


def _unpack(path: Path, files: Iterable[str], archive: Archive) -> Path:
    """Put the files wanted of an archive into the folder beside it, which is returned."""
    check(
        {path: archive.published}, remedy="delete it, and it is fetched anew; or put a whole one in its place"
    )
    folder = path.parent / archive.folder
    try:
        folder.mkdir(exist_ok=True)
        with _scratch(path.parent) as scratch, tarfile.open(path, "r:gz") as members:
            missing = _extract(members, {f"{archive.folder}/{name}": scratch / name for name in files})
            if missing:
                raise DataError(f"does not have {', '.join(missing)}", where=path)
            for name in files:
                os.replace(scratch / name, folder / name)
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"is not a whole .tar.gz: {error}", where=path) from error
    except OSError as error:
        remedy = f"make {path.parent} writable, or unpack it there yourself: tar -xzf {path.name}"
        raise DataError(f"can't be unpacked: {error.strerror}", where=path, remedy=remedy) from error
    return folder


def _extract(members: tarfile.TarFile, targets: Mapping[str, Path]) -> list[str]:
    """Write each wanted member to the path given for it, whatever else there is; name those not found."""
    missing = dict(targets)
    for member in members:
        content = members.extractfile(member) if member.isreg() and member.name in missing else None
        if content is not None:
            with content, missing.pop(member.name).open("wb") as file:
                shutil.copyfileobj(content, file, _PIECE)
    return list(missing)


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """A new folder in `folder`, for one process at a time; what a killed one has left there is removed."""
    from filelock import FileLock  # noqa: PLC0415 - seldom needed

    lock = FileLock(folder / f"{_SCRATCH}lock")
    try:
        lock.acquire()
        for left in folder.glob(f"{_SCRATCH}*"):
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)  # which follows no link
    except NotImplementedError:
        _log.debug("%s: its file system has no locks, what was left there stays", folder)
    try:
        with tempfile.TemporaryDirectory(prefix=_SCRATCH, dir=folder) as scratch:
            yield Path(scratch)
    finally:
        lock.release()


def _download(source: Source, data_dir: Path | None) -> Path:
    """Fetch what is missing below the root for downloads, which is returned."""
    root = _download_root(data_dir)
    folder = root / source.folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _scratch(folder) as scratch:
            _fetch_missing(source, folder, scratch, data_dir)
    except OSError as error:
        remedy = f"name another data directory, with --data-dir or ${_VARIABLE}"
        raise DataError(
            f"can't be made or written to: {error.strerror}", where=folder, remedy=remedy
        ) from error
    return root


def _fetch_missing(source: Source, folder: Path, scratch: Path, data_dir: Path | None) -> None:
    missing = [name for name in source.downloads if not os.path.isfile(folder / name)]
    for place, name in enumerate(missing):
        failures = _fetch(name, source, folder, scratch)
        if failures:
            looked = ", ".join(str(root / source.folder) for root in roots(data_dir))
            problem = (
                f"not all of its files are in any of {looked}; downloading failed: {'; '.join(failures)}"
            )
            remedy = "\n    ".join(
                [f"put these in place, or name a data directory that has them (--data-dir or ${_VARIABLE}):"]
                + [f"{folder / file}  from  {source.mirrors[0]}{file}" for file in missing[place:]]
            )
            raise DataError(problem, where=f"data set {source.folder}", remedy=remedy)


def _fetch(name: str, source: Source, folder: Path, scratch: Path) -> list[str]:
    """Download a file from the first mirror that gives it; where none does, what went wrong with each."""
    import pooch  # noqa: PLC0415 - slow to import, and seldom needed

    get = pooch.HTTPDownloader(chunk_size=_PIECE, timeout=_TIMEOUT)
    published, beside, failures = source.downloads[name], scratch / name, []
    for mirror in source.mirrors:
        pooch.get_logger().info("Downloading %s%s to %s", mirror, name, folder)
        try:
            with beside.open("wb") as file, _bar(name, published.size) as advance:
                get(mirror + name, _Limited(file, published.size or _LARGEST, advance), None)
        except OSError as error:  # those of requests are among them
            failures.append(f"{mirror}{name}: {_reason(error)}")
            continue
        if not _difference(beside, published):
            beside.replace(folder / name)
            return []
        failures.append(f"{mirror}{name}: not the published file")
    return failures


@contextmanager
def _bar(name: str, size: int | None) -> Iterator[Callable[[int], object]]:
    """A bar on a terminal, nothing elsewhere; what is given takes the bytes that came."""
    from tqdm import tqdm  # noqa: PLC0415 - seldom needed

    with tqdm(total=size, desc=name, unit="B", unit_scale=True, disable=None) as bar:
        yield bar.update


class _Limited:
    """A file that takes so many bytes and no more, whatever a server sends, and tells how many came."""

    def __init__(self, file: IO[bytes], size: int, advance: Callable[[int], object]) -> None:
        self._file, self._size, self._left, self._advance = file, size, size, advance

    def write(self, piece: bytes) -> None:
        """Write a piece; `OSError` where it is too long."""
        self._left -= len(piece)
        if self._left < 0:
            raise OSError(errno.EFBIG, f"sends more than {self._size:,} bytes")
        self._file.write(piece)
        self._advance(len(piece))

    def flush(self) -> None:
        """Nothing reads the file before it is closed."""


def _reason(error: OSError) -> str:
    status = getattr(getattr(error, "response", None), "status_code", None)
    return f"HTTP {status}" if status else error.strerror or type(error).__name__
