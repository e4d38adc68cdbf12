"""A notebook, executed: one output a training that changes, whichever process trains."""

import nbformat
import pytest
from nbclient import NotebookClient

CELLS = (
    "import xtrain",
    "run = xtrain.run('digits_mlp', backend='numpy', epochs=4, overrides={'loop.log_every': 1}, out='here')",
    "import torch\nclass Mine:\n    steps = 0\n    def step(self, *about): self.steps += 1\nmine = Mine()",
    "run = xtrain.run('digits_mlp', backend='numpy', epochs=4, observers=[mine], out='there')",
    "mine.steps",
    "run",
    "run.plot()",
    "run.frame('train')",
    "xtrain.evaluate(run)['accuracy'] == run.epochs[-1]['test_accuracy']",
)


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """The outputs of each cell, and how many changes there were to an output."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    resources = {"metadata": {"path": str(tmp_path_factory.mktemp("notebook"))}}
    changes = []
    client = NotebookClient(notebook, timeout=300, kernel_name="python3", resources=resources)
    told = client.process_message

    def seen(message, *rest):
        changes.append(message["msg_type"])
        return told(message, *rest)

    client.process_message = seen
    client.execute()
    return [cell.outputs for cell in notebook.cells], changes.count("update_display_data")


def test_a_training_is_one_output_also_in_a_process_of_its_own(executed):
    outputs, changes = executed
    for place in (1, 3):
        (shown,) = outputs[place]
        assert shown.output_type == "display_data"
        assert shown.data["text/html"].count("<tr>") == 5
        assert "<progress" not in shown.data["text/html"]  # it has come to its end
        assert shown.data["text/plain"].startswith("epoch 4/4, step 92, loss ")
    assert changes >= 2 * 5  # at each epoch and at the end


def test_what_a_notebook_shows_of_a_run(executed):
    outputs, _ = executed
    assert [len(cell) for cell in outputs] == [0, 1, 0, 1, 1, 1, 1, 1, 1]
    steps, run, figure, frame, same = (cell[0].data for cell in outputs[4:])
    assert steps["text/plain"] == "92"
    assert "<b>digits_mlp</b> in <code>there</code>" in run["text/html"]
    assert figure["image/png"]
    assert "<table" in frame["text/html"]
    assert same["text/plain"] == "True"
