"""Three trainings written by hand for Keras 3 on PyTorch, with arrays in memory."""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import arrays
import harness
import keras
import numpy as np
from harness import BATCH_SIZE, Clock
from keras import layers


def mlp() -> list[layers.Layer]:
    return [
        layers.Flatten(),
        layers.Dense(512, activation="relu"),
        layers.Dense(512, activation="relu"),
        layers.Dense(10),
    ]


def lenet() -> list[layers.Layer]:
    return [
        layers.Conv2D(6, 5, activation="relu"),
        layers.MaxPooling2D(2),
        layers.Conv2D(16, 5, activation="relu"),
        layers.MaxPooling2D(2),
        layers.Flatten(),
        layers.Dense(120, activation="relu"),
        layers.Dense(84, activation="relu"),
        layers.Dense(10),
    ]


def simple_cnn() -> list[layers.Layer]:
    return [
        layers.Conv2D(32, 3, activation="relu"),
        layers.MaxPooling2D(2),
        layers.Conv2D(64, 3, activation="relu"),
        layers.MaxPooling2D(2),
        layers.Flatten(),
        layers.Dense(128, activation="relu"),
        layers.Dense(10),
    ]


MODELS = {"mnist_mlp": mlp, "cifar10_lenet": lenet, "cifar10_simplecnn": simple_cnn}


class Steps(keras.callbacks.Callback):
    """Tells the clock of each epoch and step, and Keras when the clock ends an epoch early."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self.running = self.clock.epoch(range(self.params["steps"]))
        next(self.running)

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self.clock.step(np.float64(logs["loss"]))  # Keras has read it: the mean of the epoch until here
        if next(self.running, None) is None:
            self.model.stop_training = True


def compiled(task: str, shape: tuple[int, ...]) -> keras.Model:
    """The net with Keras's own initial weights, ready to train."""
    model = keras.Sequential([keras.Input(shape), *MODELS[task]()])
    if task == "mnist_mlp":
        optimizer = keras.optimizers.SGD(learning_rate=1e-2)
    else:
        optimizer = keras.optimizers.Adam(learning_rate=1e-3)  # its epsilon is 1e-7; PyTorch's 1e-8
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def main() -> None:
    # Keras starts from its own weights and shuffles for itself; its logs have the mean of an epoch so far.
    options = harness.arguments("Keras", styles=("resident",), without=("weights", "order", "losses"))
    # [N, C, H, W]. With Keras's own default, channels last, the convolutional nets take a fifth to a third
    # longer on PyTorch's CPU: Keras transposes around every convolution and pooling (3.15, one thread).
    keras.config.set_image_data_format("channels_first")
    data = arrays.read(options.data, harness.DATASETS[options.task])
    images, labels = data.normalised(data.train_images), data.train_labels
    model = compiled(options.task, images.shape[1:])
    clock = Clock(options)
    for _ in range(options.epochs):
        model.fit(
            images, labels, batch_size=BATCH_SIZE, shuffle=True, epochs=1, verbose=0, callbacks=[Steps(clock)]
        )
    accuracy = None
    if not options.steps:
        logits = model.predict(data.normalised(data.test_images), batch_size=BATCH_SIZE, verbose=0)
        accuracy = float(np.mean(logits.argmax(1) == data.test_labels))
    harness.report("keras", options, clock, len(data.train_labels), accuracy)


if __name__ == "__main__":
    with keras.device("cpu"):  # Keras would take a GPU where there is one; the other loops do not
        main()
