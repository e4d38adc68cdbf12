"""Three trainings written by hand for PyTorch, as its tutorials teach and with arrays in memory."""

from collections.abc import Callable, Iterable, Iterator

import arrays
import harness
import numpy as np
import torch
import torch.nn.functional as F
from harness import BATCH_SIZE, Clock
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset


class MLP(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(28 * 28, 512)
        self.fc2 = nn.Linear(512, 512)
        self.fc3 = nn.Linear(512, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.flatten(x, 1)
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        return self.fc3(x)


class LeNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 5)
        self.pool = nn.MaxPool2d(2, 2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(F.relu(self.conv1(x)))
        x = self.pool(F.relu(self.conv2(x)))
        x = torch.flatten(x, 1)
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        return self.fc3(x)


class SimpleCNN(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 32, 3)
        self.pool = nn.MaxPool2d(2, 2)
        self.conv2 = nn.Conv2d(32, 64, 3)
        self.fc1 = nn.Linear(64 * 6 * 6, 128)
        self.fc2 = nn.Linear(128, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(F.relu(self.conv1(x)))
        x = self.pool(F.relu(self.conv2(x)))
        x = torch.flatten(x, 1)
        x = F.relu(self.fc1(x))
        return self.fc2(x)


TrainBatches = Callable[[int], Iterable[tuple[Tensor, Tensor]]]  # of an epoch, counted from 0
EvalBatches = Callable[[], Iterable[tuple[Tensor, Tensor]]]
MODELS = {"mnist_mlp": MLP, "cifar10_lenet": LeNet, "cifar10_simplecnn": SimpleCNN}


class ImageDataset(Dataset):
    """As torchvision's MNIST and CIFAR10: an item is a PIL image, transformed, and its label."""

    def __init__(self, images: arrays.Images, labels: arrays.Labels, transform: Callable) -> None:
        self.images = images
        self.labels = labels.tolist()
        self.transform = transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.images[index])), self.labels[index]


def tutorial(data: arrays.Data) -> tuple[TrainBatches, EvalBatches]:
    """Training and test batches: torchvision's transforms and a DataLoader."""
    # Here, because the resident style needs neither its time nor its memory.
    from torchvision import transforms

    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize(data.mean, data.std)])
    train_set = ImageDataset(data.train_images, data.train_labels, transform)
    test_set = ImageDataset(data.test_images, data.test_labels, transform)
    train_loader = DataLoader(train_set, batch_size=BATCH_SIZE, shuffle=True, num_workers=2)
    test_loader = DataLoader(test_set, batch_size=BATCH_SIZE, shuffle=False, num_workers=2)
    return lambda _: train_loader, lambda: test_loader


def resident(data: arrays.Data, orders: np.ndarray | None) -> tuple[TrainBatches, EvalBatches]:
    """The same from normalised arrays in memory."""
    images = torch.from_numpy(data.normalised(data.train_images))
    labels = torch.from_numpy(data.train_labels)

    def train_batches(epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.randperm(len(labels)) if orders is None else torch.from_numpy(orders[epoch])
        for indices in order.split(BATCH_SIZE):
            yield images[indices], labels[indices]

    def eval_batches() -> Iterator[tuple[Tensor, Tensor]]:
        test_images = torch.from_numpy(data.normalised(data.test_images))
        test_labels = torch.from_numpy(data.test_labels)
        return zip(test_images.split(BATCH_SIZE), test_labels.split(BATCH_SIZE), strict=True)

    return train_batches, eval_batches


def train(model: nn.Module, optimizer: torch.optim.Optimizer, batches: Iterable, clock: Clock) -> None:
    criterion = nn.CrossEntropyLoss()
    model.train()
    for images, labels in clock.epoch(batches):
        optimizer.zero_grad()
        loss = criterion(model(images), labels)
        loss.backward()
        optimizer.step()
        clock.step(loss)


def evaluate(model: nn.Module, batches: Iterable) -> float:
    model.eval()
    correct = total = 0
    with torch.no_grad():
        for images, labels in batches:
            correct += (model(images).argmax(1) == labels).sum().item()
            total += len(labels)
    return correct / total


def main() -> None:
    options = harness.arguments("PyTorch")
    data = arrays.read(options.data, harness.DATASETS[options.task])
    model = MODELS[options.task]()
    if options.weights:
        weights = harness.read_weights(options.weights)
        model.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
    if options.task == "mnist_mlp":
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-2)
    else:
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    if options.style == "tutorial":
        train_batches, eval_batches = tutorial(data)
    else:
        train_batches, eval_batches = resident(data, harness.read_orders(options.order))
    clock = Clock(options)
    for epoch in range(options.epochs):
        train(model, optimizer, train_batches(epoch), clock)
    accuracy = None if options.steps else evaluate(model, eval_batches())
    harness.report("torch", options, clock, len(data.train_labels), accuracy)


if __name__ == "__main__":
    main()
