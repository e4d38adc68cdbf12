import hashlib
import http.server
import multiprocessing
import os
import re
import sys
import tarfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import platformdirs
import pytest
from data_files import NOWHERE, md5, published, write, write_cifar, write_idx

from xtrain.data import cifar10, cifar100, fashion_mnist, files, mnist, svhn
from xtrain.data.files import Archive, Published, Source, check, locate
from xtrain.errors import DataError

FILES = {"one.bin": b"first" * 1000, "two.bin": b"second" * 1000}
SOURCE = Source(
    folder="small", files={name: published(content) for name, content in FILES.items()}, mirrors=NOWHERE
)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """No `$XTRAIN_DATA`, an empty cache directory, and no proxy before the local server."""
    monkeypatch.delenv("XTRAIN_DATA", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda name: tmp_path / "cache" / name)
    return tmp_path / "cache/xtrain"


@pytest.fixture
def server(tmp_path):
    """Serves `tmp_path/served`; `gone/` is not there, what is below `endless/` or `hang/` never ends."""
    over = threading.Event()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            if not self.path.startswith(("/endless/", "/hang/")):
                return super().do_GET()
            self.send_response(200)
            self.end_headers()
            with suppress(OSError):
                while not over.wait(0.01):
                    self.wfile.write(bytes(1 << 20 if self.path.startswith("/endless/") else 1))

    (tmp_path / "served").mkdir()
    handler = partial(Handler, directory=tmp_path / "served")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as serving:
        thread = threading.Thread(target=serving.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{serving.server_port}/"
        over.set()
        serving.shutdown()
        thread.join()


# ---- where files are looked for


def test_roots_are_tried_in_order(tmp_path, cache, monkeypatch):
    asked, variable = tmp_path / "asked", tmp_path / "variable"
    monkeypatch.setenv("XTRAIN_DATA", str(variable))
    for root in (cache, variable, asked):  # each is preferred to the one before
        write(root / "small", FILES)
        assert locate(SOURCE, asked)["one.bin"] == root / "small/one.bin"


def test_a_root_with_some_of_the_files_is_passed_over(tmp_path, cache):
    write(tmp_path / "asked/small", {"one.bin": FILES["one.bin"]})
    write(cache / "small", FILES)
    assert locate(SOURCE, tmp_path / "asked")["one.bin"] == cache / "small/one.bin"


def test_an_empty_variable_is_none(cache, monkeypatch):
    monkeypatch.setenv("XTRAIN_DATA", "")
    write(cache / "small", FILES)
    assert locate(SOURCE, None)["one.bin"] == cache / "small/one.bin"


def test_a_relative_directory_is_made_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "asked/small", FILES)
    assert locate(SOURCE, Path("asked"))["two.bin"] == tmp_path / "asked/small/two.bin"


def test_files_of_an_archive_may_lie_without_its_folder(tmp_path):
    source = write_cifar(tmp_path)
    (tmp_path / "cifar10/cifar-10-batches-py").rename(tmp_path / "flat")
    (tmp_path / "cifar10").rmdir()
    (tmp_path / "flat").rename(tmp_path / "cifar10")
    assert locate(source, tmp_path)["test_batch"] == tmp_path / "cifar10/test_batch"


# ---- hashes


@pytest.mark.parametrize("change", [lambda c: c[:-1], lambda c: c + b"x", lambda c: c.replace(b"s", b"S", 1)])
def test_a_truncated_or_altered_file_is_refused_with_its_remedy(change, tmp_path):
    content = change(FILES["two.bin"])
    write(tmp_path / "small", FILES | {"two.bin": content})
    with pytest.raises(DataError) as caught:
        locate(SOURCE, tmp_path)
    text = str(caught.value)
    assert text.startswith(f"{tmp_path / 'small/two.bin'}: is not the published file")
    assert f"{len(content):,} bytes" in text
    assert f"SHA-256 {sha256(content)}, not {SOURCE.files['two.bin'].sha256}" in text
    assert "delete it" in text


def test_an_altered_data_set_is_refused(tmp_path):
    source = write_idx(tmp_path)
    path = tmp_path / "mnist/t10k-labels-idx1-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"t10k-labels-idx1-ubyte\.gz: is not the published file"):
        locate(source, tmp_path)


def test_an_unreadable_file_is_named(tmp_path):
    with pytest.raises(DataError, match="can't be read: Is a directory"):
        check({tmp_path: Published("0" * 32)}, remedy="")


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def test_a_file_of_the_same_md5_is_not_the_published_one(tmp_path):
    write(tmp_path, {"one.bin": b"other"})
    expected = Published(md5(b"other"), sha256(b"first"))
    with pytest.raises(DataError, match=f"SHA-256 {sha256(b'other')}, not {expected.sha256}"):
        check({tmp_path / "one.bin": expected}, remedy="")


def test_where_only_the_md5_is_known_it_decides(tmp_path):
    write(tmp_path, {"one.bin": b"first"})
    check({tmp_path / "one.bin": Published(md5(b"first"))}, remedy="")
    with pytest.raises(DataError, match=f"MD5 {md5(b'first')}, not {md5(b'other')}"):
        check({tmp_path / "one.bin": Published(md5(b"other"))}, remedy="")


@pytest.mark.parametrize("module", [mnist, fashion_mnist, cifar10, cifar100, svhn])
def test_of_all_downloads_size_and_sha256_are_known_and_https_comes_first(module):
    source = module.SOURCE
    for known in source.downloads.values():
        assert re.fullmatch("[0-9a-f]{32}", known.md5)
        assert re.fullmatch("[0-9a-f]{64}", known.sha256)
        assert known.size > 1000
    secure = [mirror.startswith("https://") for mirror in source.mirrors]
    assert secure == sorted(secure, reverse=True)
    assert secure[0] or module is svhn  # whose publisher has no https


# ---- archives


def test_an_archive_alone_is_unpacked_once(tmp_path):
    source = write_cifar(tmp_path, archive_only=True)
    folder = tmp_path / "cifar10/cifar-10-batches-py"
    assert locate(source, tmp_path) == {name: folder / name for name in source.files}
    assert sorted(os.listdir(tmp_path / "cifar10")) == [
        ".download-lock",
        "cifar-10-batches-py",
        "cifar-10-python.tar.gz",
    ]
    before = (folder / "test_batch").stat().st_mtime_ns
    locate(source, tmp_path)
    assert (folder / "test_batch").stat().st_mtime_ns == before


def test_an_altered_archive_is_not_opened(tmp_path):
    source = write_cifar(tmp_path, archive_only=True)
    path = tmp_path / "cifar10/cifar-10-python.tar.gz"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(DataError, match=r"cifar-10-python.tar.gz: is not the published file"):
        locate(source, tmp_path)
    assert os.listdir(tmp_path / "cifar10") == [path.name]


def packed(tmp_path, members):
    """A source whose archive, in its place, has these members: a name and its content or what it links to."""
    path = tmp_path / "small/small.tar.gz"
    path.parent.mkdir()
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                (tmp_path / "content").write_bytes(content)
                member.size = len(content)
                with (tmp_path / "content").open("rb") as file:
                    archive.addfile(member, file)
            else:
                member.type, member.linkname = tarfile.SYMTYPE, content
                archive.addfile(member)
    return replace(
        SOURCE, archive=Archive(name=path.name, published=published(path.read_bytes()), folder="inner")
    )


def test_only_known_members_are_unpacked(tmp_path):
    hostile = [
        ("../escaped", b"x"),
        ("/tmp/escaped-xtrain", b"x"),
        ("inner/../../escaped", b"x"),
        ("inner/more", b"x"),
    ]
    files = [(f"inner/{name}", content) for name, content in FILES.items()]
    source = packed(tmp_path, hostile + files)
    assert locate(source, tmp_path)["one.bin"].read_bytes() == FILES["one.bin"]
    assert sorted(os.listdir(tmp_path / "small/inner")) == ["one.bin", "two.bin"]
    assert not (tmp_path / "escaped").exists()
    assert not Path("/tmp/escaped-xtrain").exists()


def test_a_member_that_is_a_link_is_not_followed(tmp_path):
    source = packed(tmp_path, [("inner/one.bin", "/etc/passwd"), ("inner/two.bin", FILES["two.bin"])])
    with pytest.raises(DataError, match=r"small\.tar\.gz: does not have inner/one\.bin"):
        locate(source, tmp_path)


def test_a_member_with_another_content_is_refused(tmp_path):
    source = packed(tmp_path, [("inner/one.bin", b"other"), ("inner/two.bin", FILES["two.bin"])])
    with pytest.raises(DataError, match=r"one\.bin: is not the published file"):
        locate(source, tmp_path)


@pytest.mark.parametrize("content", [b"", b"not an archive", b"\x1f\x8b\x08\x00cut off"])
def test_a_broken_archive_is_named(content, tmp_path):
    write(tmp_path / "small", {"small.tar.gz": content})
    source = replace(
        SOURCE, archive=Archive(name="small.tar.gz", published=published(content), folder="inner")
    )
    with pytest.raises(DataError, match=r"small\.tar\.gz: is not a whole \.tar\.gz"):
        locate(source, tmp_path)


def test_an_archive_that_can_not_be_unpacked_says_how(tmp_path):
    source = write_cifar(tmp_path, archive_only=True)
    (tmp_path / "cifar10/cifar-10-batches-py").write_text("in the way")
    with pytest.raises(
        DataError, match=r"can't be unpacked: File exists\n.*tar -xzf cifar-10-python\.tar\.gz"
    ):
        locate(source, tmp_path)


# ---- downloads


def test_missing_files_are_downloaded_where_they_are_asked_for(tmp_path, cache, server):
    write(tmp_path / "served", FILES)
    write(tmp_path / "asked/small", {"one.bin": FILES["one.bin"]})
    before = (tmp_path / "asked/small/one.bin").stat().st_mtime_ns
    paths = locate(replace(SOURCE, mirrors=(server,)), tmp_path / "asked")
    assert {name: path.read_bytes() for name, path in paths.items()} == FILES
    assert paths["two.bin"] == tmp_path / "asked/small/two.bin"
    assert (tmp_path / "asked/small/one.bin").stat().st_mtime_ns == before
    assert not cache.exists()


def test_without_a_directory_the_variable_then_the_cache_is_written_to(tmp_path, cache, server, monkeypatch):
    write(tmp_path / "served", FILES)
    source = replace(SOURCE, mirrors=(server,))
    (tmp_path / "file").touch()
    monkeypatch.setenv("XTRAIN_DATA", str(tmp_path / "file/below"))  # can't be made, under any user
    assert locate(source, None)["one.bin"] == cache / "small/one.bin"
    (cache / "small/one.bin").unlink()
    monkeypatch.setenv("XTRAIN_DATA", str(tmp_path / "not/yet"))
    assert locate(source, None)["one.bin"] == tmp_path / "not/yet/small/one.bin"


def test_a_failing_mirror_gives_way_to_the_next(tmp_path, server):
    write(tmp_path / "served/altered", FILES | {"one.bin": b"altered"})
    write(tmp_path / "served/whole", FILES)
    mirrors = (*NOWHERE, f"{server}gone/", f"{server}altered/", f"{server}whole/")
    paths = locate(replace(SOURCE, mirrors=mirrors), tmp_path / "asked")
    assert {name: path.read_bytes() for name, path in paths.items()} == FILES
    assert sorted(os.listdir(tmp_path / "asked/small")) == [".download-lock", "one.bin", "two.bin"]


def test_a_server_that_sends_too_much_is_left(tmp_path, server):
    """And before it has filled the disk: it would send for ever."""
    write(tmp_path / "served/whole", FILES)
    source = replace(SOURCE, mirrors=(f"{server}endless/", f"{server}whole/"))
    assert locate(source, tmp_path / "asked")["one.bin"].read_bytes() == FILES["one.bin"]
    with pytest.raises(DataError, match=r"endless/one\.bin: sends more than 5,000 bytes"):
        locate(replace(SOURCE, mirrors=source.mirrors[:1]), tmp_path / "again")
    assert os.listdir(tmp_path / "again/small") == [".download-lock"]


def test_what_a_killed_download_left_is_removed_by_the_next(tmp_path, server):
    write(tmp_path / "served", {**FILES, "hang.bin": b"x"})
    hanging = replace(SOURCE, mirrors=(f"{server}hang/",))
    folder = tmp_path / "asked/small"
    killed = multiprocessing.get_context("spawn").Process(target=locate, args=(hanging, tmp_path / "asked"))
    killed.start()
    deadline = time.monotonic() + 60
    while not list(folder.glob(".download-*/one.bin")) and time.monotonic() < deadline:
        time.sleep(0.05)
    killed.kill()
    killed.join()
    assert list(folder.glob(".download-*/one.bin"))
    mine = write(folder, {".download-notes.txt": b"mine", "tmpnotes": b"mine"})
    locate(replace(SOURCE, mirrors=(server,)), tmp_path / "asked")
    assert sorted(os.listdir(folder)) == sorted([".download-lock", *FILES, *mine])


def test_two_downloads_at_once_are_one(tmp_path, server):
    write(tmp_path / "served", FILES)
    source = replace(SOURCE, mirrors=(server,))
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda _: locate(source, tmp_path / "asked"), range(4)))
    assert all(paths == found[0] for paths in found)
    assert sorted(os.listdir(tmp_path / "asked/small")) == [".download-lock", *FILES]


def test_an_archive_is_downloaded_and_unpacked(tmp_path, server):
    source = write_cifar(tmp_path, archive_only=True)
    (tmp_path / "cifar10/cifar-10-python.tar.gz").rename(tmp_path / "served/cifar-10-python.tar.gz")
    paths = locate(replace(source, mirrors=(server,)), tmp_path / "asked")
    assert paths["test_batch"] == tmp_path / "asked/cifar10/cifar-10-batches-py/test_batch"


def test_without_a_network_the_error_says_what_to_put_where(tmp_path, server):
    write(tmp_path / "asked/small", {"one.bin": FILES["one.bin"]})
    source = replace(SOURCE, mirrors=(f"{server}gone/", *NOWHERE))
    with pytest.raises(DataError) as caught:
        locate(source, tmp_path / "asked")
    text = str(caught.value)
    assert f"{server}gone/two.bin: HTTP 404" in text
    assert "http://127.0.0.1:9/two.bin: ConnectionError" in text
    assert f"{tmp_path / 'asked/small/two.bin'}  from  {server}gone/two.bin" in text
    assert "asked/small/one.bin" not in text
    assert "--data-dir" in text
    assert "XTRAIN_DATA" in text


def test_without_a_network_an_archive_is_asked_for(tmp_path, cache):
    source = replace(write_cifar(tmp_path / "other"), mirrors=NOWHERE)
    with pytest.raises(DataError) as caught:
        locate(source, None)
    assert f"{cache}/cifar10/cifar-10-python.tar.gz  from  http://127.0.0.1:9/cifar-10" in str(caught.value)


def test_a_directory_that_can_not_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(
        DataError, match=r"file/small: can't be made or written to: Not a directory\n.*--data-dir"
    ):
        locate(SOURCE, tmp_path / "file")


def test_on_a_terminal_a_download_shows_a_bar(monkeypatch, capsys):
    with files._bar("x.gz", 10) as advance:
        advance(10)
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with files._bar("x.gz", 10) as advance:
        advance(10)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "x.gz" in shown.err
    assert "10.0/10.0" in shown.err
