"""Discovery by metadata alone: what is broken is told when it is asked for, and stops nobody else."""

import inspect
import sys
from types import SimpleNamespace

import pytest
from plugin_folder import install, install_fake
from recipe_values import small_job

from xtrain import plugins, protocols
from xtrain.errors import BackendError
from xtrain.system.distribution import install_command

BROKEN = {
    "no_module": ("import a_module_that_is_not_there", "ModuleNotFoundError: No module named 'a_module_that"),
    "no_syntax": ("def", "SyntaxError"),
    "explodes": ("raise RuntimeError('boom')", "RuntimeError: boom"),
    "no_hook": ("xtrain_backends = 3", "has no xtrain_backend hook that answers"),
    "other_arguments": (
        "from xtrain.plugins import hookimpl\n@hookimpl\ndef xtrain_backend(gpu): ...",
        "does not load: PluginValidationError",
    ),
    "answers_nothing": (
        "from xtrain.plugins import hookimpl\n@hookimpl\ndef xtrain_backend(): ...",
        "has no xtrain_backend hook that answers",
    ),
    "hook_explodes": (
        "from xtrain.plugins import hookimpl\n@hookimpl\ndef xtrain_backend(): raise OSError('no library')",
        "does not load: OSError: no library",
    ),
    "other_contract": (
        "from xtrain.plugins import hookimpl\n@hookimpl\ndef xtrain_backend(): return 3",
        "gives no backend, it lacks name, framework, install, rank, device, environment",
    ),
}
OTHER = """
from xtrain.plugins import hookimpl
from xtrain_fake import FakeBackend

class Other(FakeBackend):
    name, framework, install, rank = "other", "a_framework_that_is_not_there", "pip install it", 100

@hookimpl
def xtrain_backend(device, threads):
    return Other(device, threads)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder on sys.path with the fake backend."""
    monkeypatch.syspath_prepend(install_fake(tmp_path))
    monkeypatch.delenv("XTRAIN_BACKEND", raising=False)
    return tmp_path


@pytest.fixture
def alone(folder, monkeypatch):
    """The only backends are those of the folder."""
    found = plugins.importlib.metadata.entry_points

    def entry_points(group):
        return [e for e in found(group=group) if e.dist.locate_file("").resolve() == folder.resolve()]

    monkeypatch.setattr(plugins.importlib.metadata, "entry_points", entry_points)
    return folder


def test_a_plugin_is_found_by_its_metadata(folder):
    assert "fake" in plugins.names()
    assert {"numpy", "torch", "paddle", "mindspore"} <= set(plugins.names())
    backend = plugins.load("fake", "gpu:1", 3)
    assert (backend.name, backend.device, backend.threads) == ("fake", "gpu:1", 3)


def test_names_are_known_without_importing_anything(folder):
    install(folder, "explodes", "xtrain_explodes", "raise RuntimeError('imported')")
    assert "explodes" in plugins.names()
    assert plugins.load("fake").name == "fake"
    assert "xtrain_explodes" not in sys.modules


@pytest.mark.parametrize(("name", "source", "message"), [(k, *v) for k, v in BROKEN.items()], ids=BROKEN)
def test_a_broken_plugin_is_told_when_it_is_asked_for_and_stops_no_other(name, source, message, folder):
    install(folder, name, f"xtrain_{name}", source)
    with pytest.raises(BackendError, match=f"backend '{name}': its plugin ") as caught:
        plugins.load(name)
    assert message in str(caught.value)
    loadable = [backend.name for backend in plugins.loadable()]
    assert {"fake", "numpy"} <= set(loadable)
    assert name not in loadable
    assert plugins.default()[0] in loadable


def test_an_unknown_name_gets_the_nearest_one_and_the_list(folder):
    with pytest.raises(
        BackendError, match=r"unknown backend 'fakee'\n  did you mean 'fake'\? allowed: .*numpy"
    ):
        plugins.load("fakee")


@pytest.mark.parametrize("device", ["auto", "cpu", "gpu", "gpu:0", "gpu:12", "ascend", "ascend:3"])
def test_devices_are_handed_over(device, folder):
    assert plugins.load("fake", device).device == device


@pytest.mark.parametrize(("asked", "meant"), [("cuda", "gpu"), ("cuda:0", "gpu:0"), ("cuda:12", "gpu:12")])
def test_cuda_is_called_gpu(asked, meant, folder):
    assert plugins.load("fake", asked).device == meant


@pytest.mark.parametrize("device", ["tpu", "tpu:3", "mps", "xpu:1", "npu", "cudax"])
def test_a_kind_of_device_that_the_core_has_never_heard_of_is_the_backends_to_open(device, folder):
    assert plugins.load("fake", device).device == device
    found = ("cpu", device if ":" in device else f"{device}:0")
    assert plugins.resolve_device("fake", device, found) == found[1]
    assert plugins.resolve_device("fake", "auto", found) == found[1]
    with pytest.raises(BackendError, match=rf"backend fake has no device '{device}'\n  devices here: cpu"):
        plugins.resolve_device("fake", device, ("cpu",))


@pytest.mark.parametrize(
    "device", ["", "gpu:", "cuda:", "gpu:x", "gpu:-1", ":0", "cpu gpu", "GPU", "auto ", "gpu:0\n", "gpu:１"]
)
def test_what_is_no_device_is_refused(device, folder):
    with pytest.raises(BackendError, match=r"is not a device\n  give auto, or a name with a number"):
        plugins.load("fake", device)


def test_a_gpu_that_is_not_there_is_called_as_users_call_it_too():
    with pytest.raises(BackendError, match=r"no device 'gpu:2' \(cuda:2\)\n  devices here: cpu"):
        plugins.resolve_device("fake", "gpu:2", ("cpu",))


def test_the_first_cpu_is_the_cpu(folder):
    assert plugins.load("fake", "cpu:0").device == "cpu"
    assert plugins.load("fake", "cpu:1").device == "cpu:1"  # for the backend to refuse


@pytest.mark.parametrize("device", ["cuda", "cpu:1", "ascend"])
def test_a_device_that_is_not_there_gets_the_list(device):
    found = ("cpu", "gpu:0", "gpu:1")
    with pytest.raises(BackendError, match=rf"no device '{device}'\n  devices here: cpu, gpu:0, gpu:1"):
        plugins.resolve_device("fake", device, found)
    assert [plugins.resolve_device("fake", name, found) for name in ("auto", "gpu", "gpu:1", "cpu")] == [
        "gpu:0",
        "gpu:0",
        "gpu:1",
        "cpu",
    ]


def test_an_answer_of_the_plugin_is_not_covered_up(folder):
    source = """
from xtrain.errors import BackendError
from xtrain.plugins import hookimpl

@hookimpl
def xtrain_backend(device):
    raise BackendError("only on Sundays")
"""
    install(folder, "sunday", "xtrain_sunday", source)
    with pytest.raises(BackendError, match=r"^only on Sundays$"):
        plugins.load("sunday")


def test_the_first_of_two_of_one_name_is_listed_once(folder):
    install(folder, "fake", "xtrain_another_fake", OTHER)
    assert plugins.names().count("fake") == 1


def test_a_framework_that_is_not_installed_is_told_with_the_remedy(folder):
    install(folder, "other", "xtrain_other", OTHER)
    other = plugins.load("other")
    assert not plugins.installed(other)
    with pytest.raises(
        BackendError, match=r"other: a_framework_that_is_not_there is not installed\n  pip install"
    ):
        plugins.require(other)
    plugins.require(plugins.load("fake"))


def test_the_variable_decides(folder, monkeypatch):
    monkeypatch.setenv("XTRAIN_BACKEND", "fake")
    assert plugins.default() == ("fake", "$XTRAIN_BACKEND says so")


def test_without_a_framework_the_one_that_needs_none_is_taken(alone):
    install(alone, "other", "xtrain_other", OTHER)
    assert plugins.default() == ("fake", "no framework is installed")


def test_of_the_installed_frameworks_the_one_of_lowest_rank_is_taken(alone):
    (alone / "a_framework_that_is_there.py").write_text("raise RuntimeError('imported')")
    there = OTHER.replace("that_is_not_there", "that_is_there")
    install(alone, "other", "xtrain_other", OTHER.replace("100", "1"))  # not installed
    install(alone, "later", "xtrain_later", there.replace('"other"', '"later"'))
    install(alone, "sooner", "xtrain_sooner", there.replace('"other"', '"sooner"').replace("100", "2"))
    name, why = plugins.default()
    assert (name, why.split(";")[0]) == ("sooner", "the first installed framework")
    assert "a_framework_that_is_there" not in sys.modules


def test_without_any_backend_the_error_says_what_to_install(monkeypatch):
    monkeypatch.delenv("XTRAIN_BACKEND", raising=False)
    monkeypatch.setattr(plugins, "names", list)
    with pytest.raises(BackendError, match="no backend is installed") as caught:
        plugins.default()
    assert caught.value.remedy == install_command("all")


def test_a_process_is_occupied_by_another_framework(alone, monkeypatch):
    install(alone, "other", "xtrain_other", OTHER)
    fake, other = plugins.load("fake"), plugins.load("other")
    assert not plugins.occupied(fake, {})
    monkeypatch.setitem(sys.modules, other.framework, sys)
    assert plugins.occupied(fake, {})
    assert not plugins.occupied(other, {})
    assert plugins.occupied(other, {"XTRAIN_SETTING": "1"})  # loaded, and read other settings
    monkeypatch.setenv("XTRAIN_SETTING", "1")
    assert not plugins.occupied(other, {"XTRAIN_SETTING": "1"})
    monkeypatch.delitem(sys.modules, other.framework)
    monkeypatch.delenv("XTRAIN_SETTING")
    assert not plugins.occupied(other, {"XTRAIN_SETTING": "1"})  # it can still be set


def test_what_is_left_out_is_logged(folder, caplog):
    install(folder, "explodes", "xtrain_explodes", "raise RuntimeError('boom')")
    message = "its plugin does not load: RuntimeError: boom"
    plugins.loadable()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert f"backend 'explodes' is left out: backend 'explodes': {message}" in caplog.text
    caplog.clear()
    assert ".pth" in plugins.formats()
    assert f"files of backend 'explodes' are left out: backend 'explodes': {message}" in caplog.text


PARTS = ("dataset", "model", "optimizer", "loop")
LACKING = """
from xtrain.plugins import hookimpl
from xtrain_fake import FakeBackend

class Lacking(FakeBackend):
    name, contract = "lacking", {contract}

    def {part}(self, *given):
        whole = super().{part}(*given)
        class Part:
            def __getattr__(self, member):
                if member == {member!r}:
                    raise AttributeError(member)
                return getattr(whole, member)
        return Part() if {part!r} != "dataset" else object()

@hookimpl
def xtrain_backend(device, threads):
    return Lacking(device, threads)
"""


LATER = f"{OTHER}\nOther.contract = 2"


def built(backend, part):
    """One part of a backend, over the fake's others."""
    job = small_job(model__hidden=[])
    split = SimpleNamespace(labels=[0])
    model = backend.model(job.model) if part != "dataset" else None
    given = {
        "dataset": lambda: backend.dataset(split),
        "model": lambda: model,
        "optimizer": lambda: backend.optimizer(job.recipe.optimizer, model),
        "loop": lambda: backend.loop(model, job.recipe.loss, None),
    }
    return given[part]()


@pytest.mark.parametrize("part", PARTS)
def test_a_part_that_lacks_a_member_is_told_when_it_is_built(part, folder):
    member = {"dataset": "__len__", "model": "predict", "optimizer": "load", "loop": "read"}[part]
    source = LACKING.format(part=part, member=member, contract=1)
    install(folder, "lacking", f"xtrain_lacking_{part}", source)
    with pytest.raises(BackendError, match=rf"'lacking': its plugin gives no {part}, it lacks .*{member}"):
        built(plugins.load("lacking"), part)
    assert built(plugins.load("fake"), part)


def test_an_older_backend_is_told_what_it_lacks_and_used_where_that_is_nothing(folder, monkeypatch):
    install(folder, "lacking", "xtrain_older", LACKING.format(part="model", member="trace", contract=1))
    monkeypatch.setattr(protocols, "VERSION", 2)
    told = "'lacking' was written for contract 1, this is 2: its model lacks trace"
    with pytest.raises(BackendError, match=told):
        built(plugins.load("lacking"), "model")
    assert built(plugins.load("fake"), "model")  # it says no number, as in the first version


def test_a_backend_of_a_later_contract_is_refused(folder):
    install(folder, "later", "xtrain_of_a_later_contract", LATER)
    with pytest.raises(BackendError, match="'later' was written for contract 2, this is 1"):
        plugins.load("later")


FILES = """
from xtrain.plugins import hookimpl

class Files:
    suffixes, beside, read = (".fake",), ".second", None

@hookimpl
def xtrain_files():
    return Files()
"""


def test_files_are_found_by_their_suffix(folder):
    install(folder, "files", "xtrain_with_files", f"{FILES}\nFiles.write = None")
    assert plugins.formats()[".fake"] == "files"
    assert plugins.files("files").beside == ".second"
    assert plugins.files("fake") is None
    assert plugins.formats()[".pth"] == "torch"


def test_files_that_lack_something_are_told_and_stop_no_other(folder):
    install(folder, "broken", "xtrain_broken_files", FILES)
    with pytest.raises(BackendError, match=r"'broken': its plugin gives no files, it lacks write"):
        plugins.files("broken")
    assert ".fake" not in plugins.formats()
    assert ".ckpt" in plugins.formats()


HOOK_TESTS = {
    "xtrain_backend": (test_a_plugin_is_found_by_its_metadata, "plugins.load("),
    "xtrain_files": (test_files_are_found_by_their_suffix, "plugins.files("),
}


def test_every_hook_has_a_test():
    hooks = [name for name, _ in inspect.getmembers(plugins.Hooks, inspect.isfunction)]
    assert sorted(HOOK_TESTS) == sorted(hooks)
    for name, (function, call) in HOOK_TESTS.items():
        assert call in inspect.getsource(function), name
