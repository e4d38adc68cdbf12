"""`python native_paddle.py FOLDER MODEL-OPTIMIZER`: a script of the usual style, without xtrain.

It loads CASE.pdparams and CASE.pdopt, saves the logits as CASE-out.npy, takes one step with the gradients in
CASE.npz and saves CASE-out.pdparams and CASE-out.pdopt. With `second` as a third word it loads nothing, and
its net is not the first of its process: the parameters have other names.
"""

import sys

import numpy as np
import paddle
from paddle import nn
from paddle import optimizer as optim
from paddle.nn import functional as F


class Block(nn.Layer):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2D(6, 12, 3, stride=2, padding=1, bias_attr=False)
        self.bn1 = nn.BatchNorm2D(12)
        self.conv2 = nn.Conv2D(12, 12, 3, padding=1, bias_attr=False)
        self.bn2 = nn.BatchNorm2D(12)
        self.downsample = nn.Sequential(nn.Conv2D(6, 12, 1, stride=2, bias_attr=False), nn.BatchNorm2D(12))

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + self.downsample(x))


class Net(nn.Layer):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2D(1, 6, 3, padding=1)
        self.bn1 = nn.BatchNorm2D(6)
        self.block = Block()
        self.fc1 = nn.Linear(48, 48)
        self.fc2 = nn.Linear(48, 10)

    def forward(self, x):
        x = self.block(F.relu(self.bn1(self.conv1(x))))
        x = F.max_pool2d(x, 2).flatten(1)
        return self.fc2(F.relu(self.fc1(x)))


class RowsLSTM(nn.Layer):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(8, 8, num_layers=2)
        self.fc = nn.Linear(8, 10)

    def forward(self, x):
        return self.fc(self.lstm(x.squeeze(1))[0][:, -1])


MODELS = {"net": Net, "lstm": RowsLSTM}
OPTIMIZERS = {
    "sgd": lambda p: optim.Momentum(0.1, momentum=0.9, parameters=p),
    "nesterov": lambda p: optim.Momentum(0.1, momentum=0.9, use_nesterov=True, parameters=p),
    "adam": lambda p: optim.Adam(0.01, parameters=p),
    "adamw": lambda p: optim.AdamW(0.01, parameters=p),
    "rmsprop": lambda p: optim.RMSProp(
        0.01, rho=0.99, epsilon=1e-8, momentum=0.9, centered=True, parameters=p
    ),
    "adagrad": lambda p: optim.Adagrad(0.01, epsilon=1e-10, parameters=p),
}

folder, case, *second = sys.argv[1:]
model, optimizer = case.split("-")
given = np.load(f"{folder}/{case}.npz")
if second:
    MODELS[model]()
net = MODELS[model]()
optimizer = OPTIMIZERS[optimizer](net.parameters())
if not second:
    missing, unexpected = net.set_state_dict(paddle.load(f"{folder}/{case}.pdparams"))
    assert not missing, missing
    assert not unexpected, unexpected
    optimizer.set_state_dict(paddle.load(f"{folder}/{case}.pdopt"))

net.eval()
np.save(f"{folder}/{case}-out.npy", net(paddle.to_tensor(given["images"])).numpy())
for name, parameter in net.named_parameters():
    if not parameter.stop_gradient:
        turned = name in ("fc.weight", "fc1.weight", "fc2.weight")
        parameter.grad = paddle.to_tensor(given[name].T if turned else given[name])
optimizer.step()
paddle.save(net.state_dict(), f"{folder}/{case}-out.pdparams")
paddle.save(optimizer.state_dict(), f"{folder}/{case}-out.pdopt")
