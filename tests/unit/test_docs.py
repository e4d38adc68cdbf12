"""Pages that are made from the code are what the code makes of them."""

import importlib.util
from pathlib import Path

from recipe_values import small_job

import xtrain
from xtrain.training.observers import EpochRecord, Start
from xtrain.training.observers.table import Table

DOCS = Path(__file__).parents[2] / "docs"


def load(path):
    spec = importlib.util.spec_from_file_location(f"docs_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_api_page_is_what_the_docstrings_say():
    page = load(DOCS / "api.py")
    assert (DOCS / "api.md").read_text(encoding="utf-8") == page.text(), "python docs/api.py writes it anew"
    assert set(page.ORDER) == set(xtrain.__all__)


def test_the_screen_of_the_recipes_page_has_the_table_of_today_and_fits_80_columns():
    page = (DOCS / "recipes.md").read_text(encoding="utf-8")
    _, _, rest = page.partition("digits_mlp under torch, seed 0\n")
    screen = rest.partition("\n```")[0].splitlines()
    table = Table(Start(small_job(data__validation={"fraction": 0.1}), None, "fake", "cpu", 0))
    assert screen[:2] == table.header().splitlines()
    assert max(map(len, screen)) <= 80
    record = EpochRecord(1, 21, 1.6722, 0.4718, 0.7881, 0.7222, 0.5, 0.25, 0.6097, 0.7708, 0.05)
    assert table.epoch(record) == screen[2]


def test_every_public_name_has_a_docstring_and_types():
    page = load(DOCS / "api.py")
    sections = page.text().split("\n## ")[1:]
    assert all(len(section.splitlines()) > 2 for section in sections)
    assert (Path(xtrain.__file__).parent / "py.typed").is_file()
