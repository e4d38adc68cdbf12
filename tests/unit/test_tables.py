"""Tables for the terminal."""

from hypothesis import given
from hypothesis import strategies as st

from xtrain.cli.tables import lines

ROWS = [("mnist_mlp", "mlp, 669,706 parameters", "3"), ("a", "b\nc", "12")]
HEADERS = ("name", "model", "epochs")


def test_columns_stand_below_their_headers():
    assert lines("recipes", HEADERS, ROWS, right=(2,)) == [
        "recipes",
        "",
        "  name       model                    epochs",
        " " + "─" * 44,
        "  mnist_mlp  mlp, 669,706 parameters       3",
        "  a          b                            12",
        "             c",
        "",
    ]


def test_the_widest_cells_are_folded_between_words():
    assert lines("", HEADERS, ROWS[:1], width=32) == [
        "  name       model       epochs",
        " " + "─" * 31,
        "  mnist_mlp  mlp,        3",
        "             669,706",
        "             parameters",
        "",
    ]


@given(
    st.lists(st.lists(st.text("ab c,1", max_size=30), min_size=3, max_size=3), max_size=4),
    st.integers(30, 120),
)
def test_a_table_keeps_within_its_width_and_loses_no_letter(rows, width):
    drawn = lines("", HEADERS, rows, width=width)
    assert max(map(len, drawn)) <= width
    letters = sorted("".join(drawn).replace(" ", "").replace("─", ""))
    assert letters == sorted("".join(cell for row in [HEADERS, *rows] for cell in row).replace(" ", ""))
