"""Three trainings written by hand for PaddlePaddle, as its tutorials teach and with arrays in memory."""

from collections.abc import Callable, Iterable, Iterator

import arrays
import harness
import numpy as np
import paddle
import paddle.nn.functional as F
from harness import BATCH_SIZE, Clock
from paddle import Tensor, nn
from paddle.io import DataLoader, Dataset
from paddle.vision import transforms
from PIL import Image


class MLP(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(28 * 28, 512)
        self.fc2 = nn.Linear(512, 512)
        self.fc3 = nn.Linear(512, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = paddle.flatten(x, 1)
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        return self.fc3(x)


class LeNet(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2D(3, 6, 5)
        self.pool = nn.MaxPool2D(2, 2)
        self.conv2 = nn.Conv2D(6, 16, 5)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(F.relu(self.conv1(x)))
        x = self.pool(F.relu(self.conv2(x)))
        x = paddle.flatten(x, 1)
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        return self.fc3(x)


class SimpleCNN(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2D(3, 32, 3)
        self.pool = nn.MaxPool2D(2, 2)
        self.conv2 = nn.Conv2D(32, 64, 3)
        self.fc1 = nn.Linear(64 * 6 * 6, 128)
        self.fc2 = nn.Linear(128, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(F.relu(self.conv1(x)))
        x = self.pool(F.relu(self.conv2(x)))
        x = paddle.flatten(x, 1)
        x = F.relu(self.fc1(x))
        return self.fc2(x)


TrainBatches = Callable[[int], Iterable[tuple[Tensor, Tensor]]]  # of an epoch, counted from 0
EvalBatches = Callable[[], Iterable[tuple[Tensor, Tensor]]]
MODELS = {"mnist_mlp": MLP, "cifar10_lenet": LeNet, "cifar10_simplecnn": SimpleCNN}


class ImageDataset(Dataset):
    """As Paddle's MNIST and Cifar10: an item is a PIL image, transformed, and its label."""

    def __init__(self, images: arrays.Images, labels: arrays.Labels, transform: transforms.Compose) -> None:
        super().__init__()
        self.images = images
        self.labels = labels
        self.transform = transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.int64]:
        return self.transform(Image.fromarray(self.images[index])), self.labels[index]


def tutorial(data: arrays.Data) -> tuple[TrainBatches, EvalBatches]:
    """Training and test batches: Paddle's transforms and a DataLoader.

    As in the examples of Paddle's Normalize the arrays stay NumPy's, of 0 to 255. ToTensor would make tensors
    in the workers, three to four times as slow, and now and then crashes them (paddlepaddle 3.3.1).
    """
    mean, std = ([255 * value for value in values] for values in (data.mean, data.std))
    transform = transforms.Compose([transforms.Transpose(), transforms.Normalize(mean, std)])
    train_set = ImageDataset(data.train_images, data.train_labels, transform)
    test_set = ImageDataset(data.test_images, data.test_labels, transform)
    train_loader = DataLoader(train_set, batch_size=BATCH_SIZE, shuffle=True, num_workers=2)
    test_loader = DataLoader(test_set, batch_size=BATCH_SIZE, shuffle=False, num_workers=2)
    return lambda _: train_loader, lambda: test_loader


def resident(data: arrays.Data, orders: np.ndarray | None) -> tuple[TrainBatches, EvalBatches]:
    """The same from normalised arrays in memory."""
    images, labels = data.normalised(data.train_images), data.train_labels

    def batches(images: np.ndarray, labels: np.ndarray, order: np.ndarray) -> Iterator[tuple[Tensor, Tensor]]:
        for start in range(0, len(order), BATCH_SIZE):
            indices = order[start : start + BATCH_SIZE]
            yield paddle.to_tensor(images[indices]), paddle.to_tensor(labels[indices])

    def train_batches(epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        order = np.random.permutation(len(labels)) if orders is None else orders[epoch]
        yield from batches(images, labels, order)

    def eval_batches() -> Iterator[tuple[Tensor, Tensor]]:
        order = np.arange(len(data.test_labels))
        return batches(data.normalised(data.test_images), data.test_labels, order)

    return train_batches, eval_batches


def load(model: nn.Layer, weights: dict[str, np.ndarray]) -> None:
    """Start from PyTorch's layouts: Paddle keeps the weight of a linear layer as in x out."""
    own = {name: array.T if name.startswith("fc") else array for name, array in weights.items()}
    missing, unexpected = model.set_state_dict({name: paddle.to_tensor(own[name]) for name in own})
    assert missing == unexpected == [], (missing, unexpected)


def train(model: nn.Layer, optimizer: paddle.optimizer.Optimizer, batches: Iterable, clock: Clock) -> None:
    criterion = nn.CrossEntropyLoss()
    model.train()
    for images, labels in clock.epoch(batches):
        loss = criterion(model(images), labels)
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
        clock.step(loss)


def evaluate(model: nn.Layer, batches: Iterable) -> float:
    model.eval()
    correct = total = 0
    with paddle.no_grad():
        for images, labels in batches:
            correct += (model(images).argmax(1) == labels).sum().item()
            total += len(labels)
    return correct / total


def main() -> None:
    options = harness.arguments("PaddlePaddle")
    data = arrays.read(options.data, harness.DATASETS[options.task])
    model = MODELS[options.task]()
    if options.weights:
        load(model, harness.read_weights(options.weights))
    if options.task == "mnist_mlp":
        optimizer = paddle.optimizer.SGD(learning_rate=1e-2, parameters=model.parameters())
    else:
        optimizer = paddle.optimizer.Adam(learning_rate=1e-3, parameters=model.parameters())
    if options.style == "tutorial":
        train_batches, eval_batches = tutorial(data)
    else:
        train_batches, eval_batches = resident(data, harness.read_orders(options.order))
    clock = Clock(options)
    for epoch in range(options.epochs):
        train(model, optimizer, train_batches(epoch), clock)
    accuracy = None if options.steps else evaluate(model, eval_batches())
    harness.report("paddle", options, clock, len(data.train_labels), accuracy)


if __name__ == "__main__":
    main()
