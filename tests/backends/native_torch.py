"""`python native_torch.py FOLDER MODEL-OPTIMIZER...`: a script of the usual style, without xtrain.

Of each case it loads CASE.pth, saves the logits as CASE-out.npy, takes one step with the gradients in
CASE.npz and saves CASE-out.pth.
"""

import sys

import numpy as np
import torch
from torch import nn


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(6, 12, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(12)
        self.conv2 = nn.Conv2d(12, 12, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(12)
        self.downsample = nn.Sequential(nn.Conv2d(6, 12, 1, stride=2, bias=False), nn.BatchNorm2d(12))

    def forward(self, x):
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(y + self.downsample(x))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(6)
        self.block = Block()
        self.fc1 = nn.Linear(48, 48)
        self.fc2 = nn.Linear(48, 10)

    def forward(self, x):
        x = self.block(torch.relu(self.bn1(self.conv1(x))))
        x = torch.max_pool2d(x, 2).flatten(1)
        return self.fc2(torch.relu(self.fc1(x)))


class RowsLSTM(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(8, 8, num_layers=2, batch_first=True)
        self.fc = nn.Linear(8, 10)

    def forward(self, x):
        return self.fc(self.lstm(x.squeeze(1))[0][:, -1])


OPTIMIZERS = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9),
    "nesterov": lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9, nesterov=True),
    "adam": lambda parameters: torch.optim.Adam(parameters, lr=0.01),
    "adamw": lambda parameters: torch.optim.AdamW(parameters, lr=0.01),
    "rmsprop": lambda parameters: torch.optim.RMSprop(parameters, lr=0.01, momentum=0.9, centered=True),
    "adagrad": lambda parameters: torch.optim.Adagrad(parameters, lr=0.01),
}


def main(folder, case):
    model, optimizer = case.split("-")
    given = np.load(f"{folder}/{case}.npz")
    net = {"net": Net, "lstm": RowsLSTM}[model]()
    optimizer = OPTIMIZERS[optimizer](net.parameters())
    checkpoint = torch.load(f"{folder}/{case}.pth")
    net.load_state_dict(checkpoint["model_state_dict"])
    optimizer.load_state_dict(checkpoint["optimizer_state_dict"])

    net.eval()
    with torch.no_grad():
        np.save(f"{folder}/{case}-out.npy", net(torch.from_numpy(given["images"])).numpy())
    for name, parameter in net.named_parameters():
        parameter.grad = torch.from_numpy(given[name])
    optimizer.step()
    saved = {"epoch": 3, "model_state_dict": net.state_dict(), "optimizer_state_dict": optimizer.state_dict()}
    torch.save(saved, f"{folder}/{case}-out.pth")


for case in sys.argv[2:]:
    main(sys.argv[1], case)
