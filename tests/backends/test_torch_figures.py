"""PyTorch's figures of steps that are not read yet: where they are kept, and that none is another's."""

from xtrain_torch.backend import TorchBackend

from xtrain.conformance.cases import MLP, split, step_input
from xtrain.conformance.parts import batch, build
from xtrain.spec import SGD


def test_unread_figures_lie_in_few_blocks() -> None:
    """A tensor for each step would lie where the next step's large ones were, and the heap would grow."""
    backend = TorchBackend("cpu", 1, "float32")
    parts = build(backend, MLP, SGD(lr=0.1))
    images, step = batch(backend, split(MLP)), step_input(MLP)
    handles = [parts.loop.eval_step(images) for _ in range(2)]  # evaluation may come first
    handles += [parts.loop.train_step([images], step) for _ in range(298)]
    handles += [parts.loop.eval_step(images)]
    assert len({id(block) for handle in handles for block, _ in handle}) == 2
    together = parts.loop.read(handles)

    again = build(backend, MLP, SGD(lr=0.1))
    one_by_one = [again.loop.read([again.loop.eval_step(images)])[0] for _ in range(2)]
    one_by_one += [again.loop.read([again.loop.train_step([images], step)])[0] for _ in range(298)]
    one_by_one += again.loop.read([again.loop.eval_step(images)])
    assert together == one_by_one
    assert len({figures.loss_sum for figures in together}) > 290
