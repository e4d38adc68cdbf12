"""Draws docs/images/rooms.png from the import contract in pyproject.toml: python docs/images/rooms.py.

A row is a layer, a box a room of it, with its size in lines and its modules; imports run downward only.
"""

import ast
import tomllib
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

ROOT = Path(__file__).parents[2]
WIDTH, LINE, GAP, PER_LINE = 12.0, 0.125, 0.1, 175
COLORS = {"cli": "#dbe7f3", "api": "#dbe7f3", "spec": "#e5f0dc", "system": "#e5f0dc", "errors": "#e5f0dc"}


def layers():
    """The rooms of each layer, the highest first."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    rooms = next(contract for contract in contracts if contract["name"].startswith("rooms"))
    found = [[room.strip() for room in layer.split("|")] for layer in rooms["layers"] if layer != "__main__"]
    return [*found, ["xtrain_numpy", "xtrain_torch", "xtrain_paddle", "xtrain_mindspore"]]


def described(room):
    """What a room says of itself, its lines, its modules."""
    folder = ROOT / "backends" if room.startswith("xtrain_") else ROOT / "xtrain"
    path = folder / room if (folder / room).is_dir() else folder / f"{room}.py"
    files = sorted(path.rglob("*.py")) if path.is_dir() else [path]
    head = path / "__init__.py" if path.is_dir() else path
    said = (ast.get_docstring(ast.parse(head.read_text())) or "").split("\n")[0].split(". ")[0].rstrip(".")
    lines = sum(len(file.read_text().splitlines()) for file in files)
    entries = {file.relative_to(path).parts[0] for file in files} if path.is_dir() else set()
    names = sorted(entry.removesuffix(".py") for entry in entries if entry != "__init__.py")
    return said, lines, names


def text(room, beside):
    """A room's name, its lines, and what stands in its box where so many share a row."""
    said, lines, names = described(room)
    letters = PER_LINE // beside
    return room, lines, wrapped(said.split(" "), letters, " ") + "\n" + wrapped(names, letters)


def wrapped(words, letters, joint=", "):
    """Lines of at most so many letters."""
    lines = [""]
    for word in words:
        longer = f"{lines[-1]}{joint if lines[-1] else ''}{word}"
        lines = [*lines[:-1], longer] if len(longer) <= letters else [*lines, word]
    return "\n".join(lines)


def main():
    """Draw it."""
    rows = layers()
    texts = [[text(room, len(rooms)) for room in rooms] for rooms in rows]
    heights = [0.36 + LINE * max(body.count("\n") + 1 for _, _, body in row) for row in texts]
    total = sum(heights) + GAP * (len(rows) + 1)
    figure = Figure(figsize=(WIDTH, total))
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, WIDTH), ylim=(0, total))
    axes.axis("off")
    bottom = total
    for row, height in zip(texts, heights, strict=True):
        bottom -= height + GAP
        width = (WIDTH - 0.3 - GAP * (len(row) - 1)) / len(row)
        for place, (room, lines, body) in enumerate(row):
            left = 0.15 + place * (width + GAP)
            color = "#f6e3d3" if room.startswith("xtrain_") else COLORS.get(room, "#f2f2ee")
            box = FancyBboxPatch((left, bottom), width, height, boxstyle="round,pad=0,rounding_size=0.06")
            box.set(facecolor=color, edgecolor="#888888", linewidth=0.8)
            axes.add_patch(box)
            axes.text(left + 0.1, bottom + height - 0.07, room, va="top", weight="bold", fontsize=9)
            axes.text(
                left + width - 0.1, bottom + height - 0.08, f"{lines:,}", va="top", ha="right", fontsize=7
            )
            axes.text(left + 0.1, bottom + height - 0.26, body, va="top", fontsize=6.5, linespacing=1.2)
    figure.savefig(Path(__file__).with_name("rooms.png"), dpi=130)


if __name__ == "__main__":
    main()
