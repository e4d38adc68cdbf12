"""Three trainings written by hand for MindSpore, as its quickstart teaches and with arrays in memory."""

from collections.abc import Callable, Iterable, Iterator

import arrays
import harness
import mindspore as ms
import numpy as np
from harness import BATCH_SIZE, Clock
from mindspore import Tensor, nn, ops
from mindspore.dataset import Dataset, GeneratorDataset, transforms, vision


class MLP(nn.Cell):
    def __init__(self) -> None:
        super().__init__()
        self.flatten = nn.Flatten()
        self.fc1 = nn.Dense(28 * 28, 512)
        self.fc2 = nn.Dense(512, 512)
        self.fc3 = nn.Dense(512, 10)
        self.relu = nn.ReLU()

    def construct(self, x: Tensor) -> Tensor:
        x = self.flatten(x)
        x = self.relu(self.fc1(x))
        x = self.relu(self.fc2(x))
        return self.fc3(x)


class LeNet(nn.Cell):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 5, pad_mode="valid", has_bias=True)
        self.conv2 = nn.Conv2d(6, 16, 5, pad_mode="valid", has_bias=True)
        self.relu = nn.ReLU()
        self.pool = nn.MaxPool2d(kernel_size=2, stride=2)
        self.flatten = nn.Flatten()
        self.fc1 = nn.Dense(16 * 5 * 5, 120)
        self.fc2 = nn.Dense(120, 84)
        self.fc3 = nn.Dense(84, 10)

    def construct(self, x: Tensor) -> Tensor:
        x = self.pool(self.relu(self.conv1(x)))
        x = self.pool(self.relu(self.conv2(x)))
        x = self.flatten(x)
        x = self.relu(self.fc1(x))
        x = self.relu(self.fc2(x))
        return self.fc3(x)


class SimpleCNN(nn.Cell):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 32, 3, pad_mode="valid", has_bias=True)
        self.conv2 = nn.Conv2d(32, 64, 3, pad_mode="valid", has_bias=True)
        self.relu = nn.ReLU()
        self.pool = nn.MaxPool2d(kernel_size=2, stride=2)
        self.flatten = nn.Flatten()
        self.fc1 = nn.Dense(64 * 6 * 6, 128)
        self.fc2 = nn.Dense(128, 10)

    def construct(self, x: Tensor) -> Tensor:
        x = self.pool(self.relu(self.conv1(x)))
        x = self.pool(self.relu(self.conv2(x)))
        x = self.flatten(x)
        x = self.relu(self.fc1(x))
        return self.fc2(x)


TrainBatches = Callable[[int], Iterable[tuple[Tensor, Tensor]]]  # of an epoch, counted from 0
EvalBatches = Callable[[], Iterable[tuple[Tensor, Tensor]]]
MODELS = {"mnist_mlp": MLP, "cifar10_lenet": LeNet, "cifar10_simplecnn": SimpleCNN}


class ImageSource:
    """As MindSpore's Mnist and Cifar10 data sets: an item is an image, uint8 [H, W, C], and its label."""

    def __init__(self, images: arrays.Images, labels: arrays.Labels) -> None:
        self.images = images.reshape(*images.shape[:3], -1)
        self.labels = labels

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.int64]:
        return self.images[index], self.labels[index]


def tutorial(data: arrays.Data) -> tuple[TrainBatches, EvalBatches]:
    """Training and test batches: a GeneratorDataset through MindSpore's transforms.

    The source keeps its default of one worker, the transforms have two: reading items from arrays with two
    processes takes five times as long.
    """

    def pipeline(images: arrays.Images, labels: arrays.Labels, shuffle: bool) -> Dataset:
        source = ImageSource(images, labels)
        dataset = GeneratorDataset(source, ["image", "label"], shuffle=shuffle)
        image_transforms = [
            vision.Rescale(1.0 / 255.0, 0),
            vision.Normalize(mean=data.mean, std=data.std),
            vision.HWC2CHW(),
        ]
        dataset = dataset.map(image_transforms, "image", num_parallel_workers=2)
        dataset = dataset.map(transforms.TypeCast(ms.int32), "label")
        return dataset.batch(BATCH_SIZE)

    train_set = pipeline(data.train_images, data.train_labels, shuffle=True)
    test_set = pipeline(data.test_images, data.test_labels, shuffle=False)
    return lambda _: train_set.create_tuple_iterator(), test_set.create_tuple_iterator


def resident(data: arrays.Data, orders: np.ndarray | None) -> tuple[TrainBatches, EvalBatches]:
    """The same from normalised arrays in memory."""
    images, labels = data.normalised(data.train_images), data.train_labels.astype(np.int32)

    def batches(images: np.ndarray, labels: np.ndarray, order: np.ndarray) -> Iterator[tuple[Tensor, Tensor]]:
        for start in range(0, len(order), BATCH_SIZE):
            indices = order[start : start + BATCH_SIZE]
            yield Tensor(images[indices]), Tensor(labels[indices])

    def train_batches(epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        order = np.random.permutation(len(labels)) if orders is None else orders[epoch]
        yield from batches(images, labels, order)

    def eval_batches() -> Iterator[tuple[Tensor, Tensor]]:
        test_labels = data.test_labels.astype(np.int32)
        return batches(data.normalised(data.test_images), test_labels, np.arange(len(test_labels)))

    return train_batches, eval_batches


def load(model: nn.Cell, weights: dict[str, np.ndarray]) -> None:
    """Start from PyTorch's weights, whose names and layouts are MindSpore's here too."""
    parameters = {name: ms.Parameter(Tensor(array), name=name) for name, array in weights.items()}
    missing, unexpected = ms.load_param_into_net(model, parameters, strict_load=True)
    assert missing == unexpected == [], (missing, unexpected)


def train(model: nn.Cell, optimizer: nn.Optimizer, batches: Iterable, clock: Clock) -> None:
    loss_fn = nn.CrossEntropyLoss()

    def forward_fn(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        logits = model(images)
        return loss_fn(logits, labels), logits

    grad_fn = ms.value_and_grad(forward_fn, None, optimizer.parameters, has_aux=True)
    model.set_train()
    for images, labels in clock.epoch(batches):
        (loss, _), gradients = grad_fn(images, labels)
        optimizer(gradients)
        clock.step(loss)


def evaluate(model: nn.Cell, batches: Iterable) -> float:
    model.set_train(False)
    correct = total = 0
    for images, labels in batches:
        predicted = ops.argmax(model(images), 1)
        correct += (predicted == labels).asnumpy().sum()
        total += len(labels)
    return float(correct / total)


def main() -> None:
    options = harness.arguments("MindSpore")
    data = arrays.read(options.data, harness.DATASETS[options.task])
    model = MODELS[options.task]()
    if options.weights:
        load(model, harness.read_weights(options.weights))
    if options.task == "mnist_mlp":
        optimizer = nn.SGD(model.trainable_params(), learning_rate=1e-2)
    else:
        optimizer = nn.Adam(model.trainable_params(), learning_rate=1e-3)
    if options.style == "tutorial":
        train_batches, eval_batches = tutorial(data)
    else:
        train_batches, eval_batches = resident(data, harness.read_orders(options.order))
    clock = Clock(options)
    for epoch in range(options.epochs):
        train(model, optimizer, train_batches(epoch), clock)
    accuracy = None if options.steps else evaluate(model, eval_batches())
    harness.report("mindspore", options, clock, len(data.train_labels), accuracy)


if __name__ == "__main__":
    main()
