"""Where a backend lives: what decides it, what is refused, how its environment is made."""

import errno
import importlib.util
import os
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
import xtrain_fake
from plugin_folder import install_fake

from xtrain import homes, plugins
from xtrain.errors import BackendError, UsageError, XtrainError
from xtrain.homes import config
from xtrain.homes import install as installing
from xtrain.recipe import load_recipe
from xtrain.system import isolated, package
from xtrain.training import session
from xtrain.training.assembly import Options
from xtrain.training.observers import Observer


@pytest.fixture(autouse=True)
def configuration(tmp_path, monkeypatch):
    """The file, which is not there yet."""
    path = tmp_path / "config" / "config.toml"
    monkeypatch.setattr(config, "path", lambda: path)
    return path


@pytest.fixture
def pythons(tmp_path):
    """Two files that are taken for interpreters."""
    made = [tmp_path / "one" / "bin" / "python", tmp_path / "two" / "bin" / "python"]
    for path in made:
        path.parent.mkdir(parents=True)
        path.touch()
    return made


def test_without_a_word_a_backend_lives_here(configuration):
    assert homes.find("paddle") is None
    assert homes.names() == []
    assert not configuration.exists()


def test_the_variable_goes_before_the_configuration(pythons, monkeypatch):
    first, second = pythons
    config.write("paddle", first)
    assert homes.find("paddle") == first
    monkeypatch.setenv("XTRAIN_PYTHON_PADDLE", str(second))
    assert homes.find("paddle") == second
    monkeypatch.setenv("XTRAIN_PYTHON_PADDLE", "")
    assert homes.find("paddle") is None
    assert homes.names() == []


def test_the_variable_is_spelled_in_capitals(pythons, monkeypatch):
    assert config.variable("my-own.backend") == "XTRAIN_PYTHON_MY_OWN_BACKEND"
    monkeypatch.setenv("XTRAIN_PYTHON_MINE", str(pythons[0]))
    assert homes.find("mine") == pythons[0]
    assert homes.names() == ["mine"]
    assert "mine" in plugins.known()
    assert "mine" not in plugins.names()


def test_the_folder_of_an_environment_means_its_python(pythons, monkeypatch):
    monkeypatch.setenv("XTRAIN_PYTHON_PADDLE", str(pythons[0].parents[1]))
    assert homes.find("paddle") == pythons[0]


def test_a_relative_path_of_the_variable_is_made_absolute(pythons, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XTRAIN_PYTHON_PADDLE", "one/bin/python")
    assert homes.find("paddle") == pythons[0]


def test_links_are_left_as_they_are(tmp_path, pythons, monkeypatch):
    link = tmp_path / "python"
    link.symlink_to(pythons[0])
    monkeypatch.setenv("XTRAIN_PYTHON_PADDLE", str(link))
    assert homes.find("paddle") == link  # by which it knows its environment


def test_what_is_not_there_is_told_with_who_says_so(configuration, monkeypatch):
    config.write("paddle", Path("/nowhere/python"))
    with pytest.raises(
        BackendError, match=r"its Python by .*config\.toml, /nowhere/python, is not there"
    ) as e:
        homes.find("paddle")
    for command in ("--install paddle", "--python paddle=PATH", "--forget paddle"):
        assert f"xtrain backends {command}" in e.value.remedy
    monkeypatch.setenv("XTRAIN_PYTHON_PADDLE", "/neither")
    with pytest.raises(BackendError, match=r"by \$XTRAIN_PYTHON_PADDLE, /neither, is not there") as e:
        homes.find("paddle")
    assert e.value.remedy.startswith("unset XTRAIN_PYTHON_PADDLE, or point it to ")
    assert homes.names() == ["paddle"]  # it is listed all the same


def test_a_folder_without_a_python_is_not_called_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("XTRAIN_PYTHON_PADDLE", str(tmp_path))
    with pytest.raises(BackendError, match=f"{tmp_path}, has no bin/python\n"):
        homes.find("paddle")


def test_the_way_to_a_python_is_written_without_detours(pythons, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path / "two")
    assert homes.executable(Path("../one"), "", "") == pythons[0]


def test_what_else_the_configuration_says_stays(configuration, pythons):
    configuration.parent.mkdir()
    configuration.write_text('[backends.torch]\npython = "/t"\n')
    config.write("paddle", pythons[0])
    assert config.read() == {"torch": Path("/t"), "paddle": pythons[0]}
    config.write("torch", None)
    assert config.read() == {"paddle": pythons[0]}
    config.write("paddle", None)
    assert config.read() == {}


HOSTILE = {
    "no TOML": ("backends = [", "can't be read"),
    "no text": (b"\xff\xfe", "can't be read"),
    "deep": (f"a = {'[' * 100_000}", "can't be read"),
    "no table": ("backends = 3", "backends = 3 is no table"),
    "an entry that is none": ("backends.paddle = '/x'", "backends.paddle = '/x' is no table"),
    "a number": ("backends.paddle.python = 3", "backends.paddle.python = 3 is no absolute path"),
    "a command": ("backends.paddle.python = ['sh', '-c']", "is no absolute path"),
    "a relative path": ("backends.paddle.python = 'bin/python'", "'bin/python' is no absolute path"),
    "a key that is misspelt": (
        'backends.paddle.pyhton = "/x"',
        "pyhton is no key, backends.paddle.python is",
    ),
    "a table that is misspelt": ('backend.paddle.python = "/x"', "backend is no key, backends is one"),
    "a path with a NUL": ('backends.paddle.python = "/a\\u0000"', "is no absolute path"),
}


@pytest.mark.parametrize(("text", "said"), HOSTILE.values(), ids=HOSTILE)
def test_a_configuration_that_is_none_is_refused(text, said, configuration, monkeypatch):
    configuration.parent.mkdir()
    configuration.write_bytes(text if isinstance(text, bytes) else text.encode())
    before = configuration.read_bytes()
    for call in (lambda: homes.find("paddle"), homes.names, lambda: config.write("torch", Path("/t"))):
        with pytest.raises(UsageError) as refused:
            call()
        assert said in refused.value.problem
        assert (refused.value.where, refused.value.exit_code) == (configuration, 2)
        assert "mend the file" in refused.value.remedy
    assert configuration.read_bytes() == before
    monkeypatch.setenv("XTRAIN_PYTHON_PADDLE", "")
    assert homes.find("paddle") is None  # the variable asks no file


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_named_pipe_is_not_waited_for(configuration):
    configuration.parent.mkdir()
    os.mkfifo(configuration)
    with pytest.raises(UsageError, match="can't be read"):
        homes.find("paddle")


def test_a_configuration_that_can_not_be_written_is_an_error(configuration):
    configuration.parent.write_text("a file")
    with pytest.raises(
        XtrainError, match=r"can't be written: .*\n  set XDG_CONFIG_HOME .*XTRAIN_PYTHON_PADDLE"
    ):
        config.write("paddle", Path("/x"))


def test_a_configuration_whose_folder_can_not_be_entered_is_none(configuration, monkeypatch):
    configuration.parent.write_text("a file, below which nothing lies")
    assert homes.find("paddle") is None
    assert homes.names() == []

    def forbidden(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "stat", forbidden)  # the administrator may look into any
    assert config.read() == {}


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="for the administrator it can be")
def test_a_configuration_that_can_not_be_read_is_an_error(configuration):
    config.write("paddle", Path("/x"))
    configuration.chmod(0)
    with pytest.raises(UsageError, match="can't be read: Permission denied"):
        homes.find("paddle")


@pytest.mark.parametrize("name", ["", "../x", "a/b", "a b", "-x", "a\n", "x" * 65])
def test_what_is_no_name_is_refused(name):
    with pytest.raises(BackendError, match="is no name of a backend"):
        homes.check_name(name)


def test_a_backend_that_lives_elsewhere_counts_as_installed(pythons, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(install_fake(tmp_path / "plugin"))
    fake = plugins.load("fake")
    monkeypatch.setattr(fake, "framework", "a_framework_that_is_not_there", raising=False)
    assert not plugins.installed(fake)
    config.write("fake", pythons[0])
    assert plugins.installed(fake)


def where_it_runs():
    return sys.executable, os.environ.get("XTRAIN_PYTHON_FAKE")


def test_a_call_goes_where_the_backend_lives_and_there_it_is_at_home(tmp_path, monkeypatch):
    here = str(Path(__file__).parent)
    python = _script(tmp_path / "python", f'PYTHONPATH="{os.pathsep.join([here, *filter(None, sys.path)])}"')
    monkeypatch.setenv("XTRAIN_PYTHON_FAKE", str(python))
    assert homes.call("fake", where_it_runs) == (sys.executable, "")
    assert homes.call("numpy", where_it_runs) == (sys.executable, str(python))  # which lives here


def _script(path, *settings):
    """An interpreter that is this one, with other settings."""
    path.write_text(f'#!/bin/sh\n{" ".join(settings)} exec "{sys.executable}" "$@"\n')
    path.chmod(0o755)
    return path


def of_another_version(folder):
    """Its metadata alone: the sources are those of here."""
    own = package.distribution()
    info = folder / f"{own.name}-0.0.9.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {own.name}\nVersion: 0.0.9\n")
    (info / "entry_points.txt").write_text(own.read_text("entry_points.txt"))


def with_another_backend(folder):
    """A backend that comes with xtrain, changed; the core is that of here."""
    source = Path(importlib.util.find_spec("xtrain_numpy").origin).parent
    shutil.copytree(source, folder / "xtrain_numpy")
    with (folder / "xtrain_numpy" / "losses.py").open("a") as file:
        file.write("\nOTHER = True\n")


OTHERS = {
    of_another_version: f"has xtrain 0.0.9, this one is {package.distribution().version}",
    with_another_backend: f"has another state of xtrain {package.distribution().version} than this one",
}


@pytest.mark.parametrize(("make", "said"), OTHERS.items(), ids=[make.__name__ for make in OTHERS])
def test_another_xtrain_there_is_refused_though_its_core_is_equal(make, said, tmp_path, monkeypatch):
    (tmp_path / "other").mkdir()
    make(tmp_path / "other")
    here = [str(tmp_path / "other"), str(Path(__file__).parent), *filter(None, sys.path)]
    python = _script(tmp_path / "python", f'PYTHONPATH="{os.pathsep.join(here)}"')
    monkeypatch.setenv("XTRAIN_PYTHON_FAKE", str(python))
    with pytest.raises(BackendError, match=said) as refused:
        homes.call("fake", where_it_runs)
    assert refused.value.where == python
    wanted = " ".join(package.requirement("fake"))
    assert refused.value.remedy == (
        f"install this one there: uv pip install --python {python} --reinstall-package crosstrain {wanted}"
    )


@pytest.mark.parametrize("thread", [False, True], ids=["the main thread", "a thread, as in a list"])
def test_a_python_that_hangs_is_waited_for_a_minute_alone(thread, tmp_path, monkeypatch):
    monkeypatch.setattr(isolated, "_PATIENCE", 1)
    python = tmp_path / "python"
    hanging = "sleep 60 & echo $! > child; wait" if not thread else "exec sleep 60"
    python.write_text(f"#!/bin/sh\ncd {tmp_path}\necho $$ > own\n{hanging}\n")
    python.chmod(0o755)
    monkeypatch.setenv("XTRAIN_PYTHON_FAKE", str(python))
    with ThreadPoolExecutor() as pool:
        mapped = pool.map if thread else map
        with pytest.raises(BackendError, match="it said nothing within 1 seconds\n  unset ") as refused:
            list(mapped(homes.call, ["fake"], [where_it_runs]))
    assert refused.value.where == python
    for file in ("own",) if thread else ("own", "child"):
        _until_gone(int((tmp_path / file).read_text()))


def _until_gone(process):
    state = Path(f"/proc/{process}/stat")  # Z: it has ended, and nobody has asked how
    deadline = time.monotonic() + 5
    while state.exists() and " Z " not in state.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)


class Mine(Observer):
    def __init__(self):
        self.held = lambda: None


def test_an_observer_that_can_not_travel_is_told(pythons):
    config.write("fake", pythons[0])
    job = load_recipe("digits_mlp").bind()
    with pytest.raises(UsageError, match="observer Mine can't go to where backend fake lives: ") as told:
        session.train(job, Options("fake", observers=[Mine()]))
    assert "pickled" in told.value.remedy
    assert not xtrain_fake.calls


UV = """#!/bin/sh
echo "$@" >> "{log}"
[ "$1" = venv ] || exit {code}
for place; do :; done
mkdir -p "$place/bin" && touch "$place/bin/python"
"""


@pytest.fixture
def uv(tmp_path, monkeypatch):
    """A stand-in that writes down what it is told."""

    def make(code=0):
        folder, log = tmp_path / "tools", tmp_path / "log"
        folder.mkdir()
        (folder / "uv").write_text(UV.format(log=log, code=code))
        (folder / "uv").chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
        monkeypatch.setattr(installing, "folder", lambda name: tmp_path / "data" / name)
        monkeypatch.delenv("UV_PYTHON", raising=False)
        return log

    return make


def make(backend):
    with installing.install(backend) as python:
        return python


def test_an_environment_is_made_anew_with_this_very_xtrain(uv, tmp_path):
    log, place = uv(), tmp_path / "data" / "torch"
    (place / "before").mkdir(parents=True)
    with installing.install("torch") as python:
        assert python == place / "bin" / "python"
        assert (tmp_path / "data" / "torch.old" / "before").is_dir()  # until it has been tried
    assert [path.name for path in place.iterdir()] == ["bin"]
    assert [path.name for path in place.parent.iterdir()] == ["torch"]
    wanted = " ".join(package.requirement("torch", *package.carried()))
    assert log.read_text().splitlines() == [
        f"venv --python {sys.executable} {place}",
        f"pip install --python {python} {wanted}",
    ]


@pytest.mark.parametrize("failure", ["uv", "the trial", "Ctrl-C", "a kill before"])
def test_where_it_fails_the_environment_of_before_is_back(failure, uv, tmp_path):
    place = tmp_path / "data" / "torch"
    (place / "before").mkdir(parents=True)
    if failure == "a kill before":
        place.rename(tmp_path / "data" / "torch.old")
        (place / "half done").mkdir(parents=True)
    uv(code=3 if failure in ("uv", "a kill before") else 0)
    kind = {"the trial": BackendError, "Ctrl-C": KeyboardInterrupt}.get(failure, XtrainError)
    with pytest.raises(kind), installing.install("torch"):
        raise kind("it does not work")
    assert [path.name for path in place.iterdir()] == ["before"]
    assert [path.name for path in place.parent.iterdir()] == ["torch"]


@pytest.mark.parametrize("place", ["/proc/xtrain", "FILE"])
def test_a_folder_that_can_not_be_written_is_told(place, uv, tmp_path, monkeypatch):
    log = uv()
    (tmp_path / "file").touch()
    place = tmp_path / "file" if place == "FILE" else Path(place)
    monkeypatch.setattr(installing, "folder", lambda name: place / "envs" / name)
    with pytest.raises(XtrainError, match="can't be written: ") as refused:
        make("torch")
    assert refused.value.where == place / "envs" / "torch"
    assert "set XDG_DATA_HOME " in refused.value.remedy
    assert "xtrain backends --python torch=PATH" in refused.value.remedy
    assert not log.exists()


def test_without_uv_it_is_said_what_to_do(monkeypatch):
    monkeypatch.setattr(installing, "uv", lambda: None)
    with pytest.raises(
        UsageError, match=r"uv, which is not installed\n  .*pip install .*uv; or make an environment yourself"
    ):
        make("torch")


def test_its_python_is_one_that_there_are_wheels_for(uv, tmp_path, monkeypatch):
    log = uv()
    monkeypatch.setattr(installing, "lacking", lambda extra: "mindspore")
    monkeypatch.setattr(installing, "python_for", lambda extra: "3.12")
    make("mindspore")
    assert log.read_text().splitlines()[0] == f"venv --python 3.12 {tmp_path / 'data' / 'mindspore'}"
    log.unlink()
    monkeypatch.setattr(installing, "python_for", lambda extra: None)
    with pytest.raises(UsageError, match="make an environment yourself and name it: "):
        make("mindspore")
    assert not log.exists()
    assert (tmp_path / "data" / "mindspore").is_dir()


def test_what_no_extra_installs_is_refused():
    with pytest.raises(
        UsageError, match=r"has no extra 'troch'.*\n  make an environment yourself and .* --python troch=PATH"
    ):
        make("troch")


def test_where_uv_fails_it_is_said(uv, tmp_path):
    uv(code=3)
    with pytest.raises(XtrainError, match=r"uv pip install ended with code 3\n  what it said stands above"):
        make("torch")


ORIGINS = {
    "a clone": ('{"url": "file://PLACE", "dir_info": {"editable": true}}', ["--editable", "PLACE[torch]"]),
    "a file": ('{"url": "file://PLACE", "archive_info": {}}', ["own[torch] @ file://PLACE"]),
    "a file elsewhere": ('{"url": "https://x.org/own.whl"}', ["own[torch] @ https://x.org/own.whl"]),
    "a repository": (
        '{"url": "https://x.org/own", "vcs_info": {"vcs": "git", "commit_id": "abc"}}',
        ["own[torch] @ git+https://x.org/own@abc"],
    ),
    "an index": (None, ["own[torch]==1.2"]),
}


@pytest.fixture
def own(monkeypatch):
    """A distribution in place of xtrain's; `origin` is what the installer wrote down."""

    class Own:
        name, version, metadata = "own", "1.2", package.distribution().metadata
        requires, entry_points = package.distribution().requires, package.distribution().entry_points
        origin = None

        def read_text(self, name):
            return self.origin

    made = Own()
    monkeypatch.setattr(package, "distribution", lambda: made)
    return made


def test_the_command_for_another_environment_can_be_typed(own, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}")
    start = "uv pip install --python /e/python --reinstall-package crosstrain"
    assert package.command_there(Path("/e/python"), "torch") == f"{start} 'own[torch]==1.2'"
    assert package.command_there(Path("/e/python"), "of-a-plugin") == f"{start} own==1.2"
    own.origin = '{"url": "file:///gone/own.whl", "archive_info": {}}'
    assert "\n  put it back; or " in package.command_there(Path("/e/python"), "torch")


def test_the_extras_of_here_come_too(own, monkeypatch):
    assert "all" not in package.carried()  # where all are installed
    versions = dict.fromkeys(("torch", "torchvision", "threadpoolctl", "setuptools"), "9")
    versions |= {"matplotlib": "3.10", "pillow": "12.0", "scipy": "0.1"}

    def version(name):
        if name not in versions:
            raise PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(package, "version", version)
    assert package.carried() == ["images", "plot"]  # SciPy is too old; frameworks stay where they are
    assert package.requirement("torch", *package.carried()) == ["own[torch,images,plot]==1.2"]


@pytest.mark.parametrize(("origin", "wanted"), ORIGINS.values(), ids=ORIGINS)
def test_it_is_installed_from_where_this_one_came(origin, wanted, own, tmp_path):
    own.origin = origin and origin.replace("PLACE", str(tmp_path))
    assert package.requirement("torch") == [part.replace("PLACE", str(tmp_path)) for part in wanted]


def test_where_its_wheel_is_gone_nothing_is_removed(own, uv, tmp_path):
    log, before = uv(), tmp_path / "data" / "torch" / "before"
    before.mkdir(parents=True)
    own.origin = '{"url": "file:///gone/own.whl", "archive_info": {}}'
    with pytest.raises(UsageError, match="installed from here, and nothing is here now") as refused:
        make("torch")
    assert refused.value.where == Path("/gone/own.whl")
    assert "put it back; or make an environment, " in refused.value.remedy
    assert "xtrain backends --python torch=PATH" in refused.value.remedy
    assert before.is_dir()
    assert not log.exists()


def test_the_distribution_is_found_by_its_command():
    own = package.distribution()
    assert "torch" in own.metadata.get_all("Provides-Extra")
    assert package.itself(own.name) == {"xtrain": own.version, "sources": package.sources()}
    assert package.itself("no-such-distribution")["xtrain"] is None


def test_what_is_not_installed_is_told(monkeypatch):
    monkeypatch.setattr(package, "NAME", "no-such-distribution")
    with pytest.raises(XtrainError, match="runs without being installed"):
        package.distribution()
