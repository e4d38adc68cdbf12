"""Three trainings written by hand for PyTorch Lightning, with arrays in memory."""

from collections.abc import Iterator
from typing import Any

import arrays
import harness
import torch
import torch.nn.functional as F
from harness import BATCH_SIZE, Clock
from lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch_native import MODELS, TrainBatches, evaluate, resident


class Classifier(LightningModule):
    def __init__(self, net: nn.Module, task: str) -> None:
        super().__init__()
        self.net = net
        self.task = task

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        images, labels = batch
        return F.cross_entropy(self.net(images), labels)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        if self.task == "mnist_mlp":
            return torch.optim.SGD(self.parameters(), lr=1e-2)
        return torch.optim.Adam(self.parameters(), lr=1e-3)


class TimedBatches:
    """What Trainer.fit trains on: at each iter() the batches of the next epoch, timed.

    It has a length, as a DataLoader has. Without one, Lightning fetches a batch ahead to know which is the
    last, and the clock would stop before the last step. With one, it never asks for the end: see Steps.
    """

    def __init__(self, train_batches: TrainBatches, clock: Clock, length: int) -> None:
        self.train_batches = train_batches
        self.clock = clock
        self.length = length
        self.running: Iterator[tuple[Tensor, Tensor]] = iter(())

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        # Lightning also asks for an iterator that it does not use: nothing starts before the first batch.
        self.running = self.clock.epoch(self.train_batches(len(self.clock.epoch_seconds)))
        return self.running


class Steps(Callback):
    """Tells the clock of each step, and of the end of an epoch."""

    def __init__(self, batches: TimedBatches) -> None:
        self.batches = batches

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, outputs: Any, *_: Any) -> None:
        self.batches.clock.step(outputs["loss"])

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        assert next(self.batches.running, None) is None, "the epoch has more batches than its length says"


def main() -> None:
    options = harness.arguments("PyTorch Lightning", styles=("resident",))
    data = arrays.read(options.data, harness.DATASETS[options.task])
    net = MODELS[options.task]()
    if options.weights:
        weights = harness.read_weights(options.weights)
        net.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
    train_batches, eval_batches = resident(data, harness.read_orders(options.order))
    clock = Clock(options)
    length = -(-len(data.train_labels) // BATCH_SIZE)
    batches = TimedBatches(train_batches, clock, min(length, options.steps or length))
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=options.epochs,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[Steps(batches)],
    )
    trainer.fit(Classifier(net, options.task), batches)
    accuracy = None if options.steps else evaluate(net, eval_batches())
    harness.report("lightning", options, clock, len(data.train_labels), accuracy)


if __name__ == "__main__":
    main()
