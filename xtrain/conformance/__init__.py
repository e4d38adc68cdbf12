"""The suite that a backend must pass, shipped so that the author of any backend can run it.

    python -m xtrain.conformance --backend NAME [--device D] [pytest's own arguments]

Every figure is compared with the NumPy reference in float64. Tolerances are not chosen: `compare` measures
in each test how far the reference itself moves when its inputs move by one unit in the last place of
float32, and allows a small multiple of that.
"""

from collections.abc import Sequence
from pathlib import Path

from xtrain.system.distribution import need

# pytest's own codes that mean something else to `xtrain`: interrupted, broken inside, wrong use, no row.
_CODES = {2: 130, 3: 1, 4: 2, 5: 2}


def main(arguments: Sequence[str]) -> int:
    """Run the suite for the backend that `--backend` names.

    Returns:
        the command's exit code: 0 nothing failed, 1 something did, 2 wrong use or no row chosen,
        130 interrupted.

    """
    need("pytest", "conformance", "the conformance suite")
    import pytest

    folder = str(Path(__file__).parent)
    own = [
        "-p",
        "xtrain.conformance.plugin",
        "-p",
        "xtrain.conformance.outcomes",
        "-p",
        "no:cacheprovider",
        "-c",
        str(Path(folder) / "pytest.ini"),
    ]
    code = pytest.main([*own, *arguments, folder])
    return _CODES.get(code, code)
