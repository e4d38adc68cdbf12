import pytest
import xtrain_fake


@pytest.fixture(autouse=True)
def _no_fault_is_left():
    xtrain_fake.reset()
    yield
    xtrain_fake.reset()


@pytest.fixture
def offer(tmp_path, monkeypatch):
    """Install a package with one entry point."""
    monkeypatch.syspath_prepend(tmp_path)

    def install(package, group, name, source, member):
        info = tmp_path / f"{package}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {package}:{member}\n")
        (tmp_path / f"{package}.py").write_text(source)

    return install
