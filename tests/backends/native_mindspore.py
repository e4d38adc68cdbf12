"""`python native_mindspore.py FOLDER MODEL-OPTIMIZER...`: a script of the usual style, without xtrain.

Of each case it loads CASE.ckpt, saves the logits as CASE-out.npy, takes one step with the gradients in
CASE.npz and saves CASE-out.ckpt.
"""

import sys

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops
from mindspore.experimental import optim


def conv(channels, out, size, stride=1, padding=0, bias=False):
    return nn.Conv2d(channels, out, size, stride, pad_mode="pad", padding=padding, has_bias=bias)


class Block(nn.Cell):
    def __init__(self):
        super().__init__()
        self.conv1 = conv(6, 12, 3, 2, 1)
        self.bn1 = nn.BatchNorm2d(12)
        self.conv2 = conv(12, 12, 3, 1, 1)
        self.bn2 = nn.BatchNorm2d(12)
        self.downsample = nn.SequentialCell(conv(6, 12, 1, 2), nn.BatchNorm2d(12))

    def construct(self, x):
        y = self.bn2(self.conv2(ops.relu(self.bn1(self.conv1(x)))))
        return ops.relu(y + self.downsample(x))


class Net(nn.Cell):
    def __init__(self):
        super().__init__()
        self.conv1 = conv(1, 6, 3, 1, 1, bias=True)
        self.bn1 = nn.BatchNorm2d(6)
        self.block = Block()
        self.pool = nn.MaxPool2d(2, 2)
        self.flatten = nn.Flatten()
        self.fc1 = nn.Dense(48, 48)
        self.fc2 = nn.Dense(48, 10)

    def construct(self, x):
        x = self.block(ops.relu(self.bn1(self.conv1(x))))
        return self.fc2(ops.relu(self.fc1(self.flatten(self.pool(x)))))


class RowsLSTM(nn.Cell):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(8, 8, num_layers=2, batch_first=True)
        self.fc = nn.Dense(8, 10)

    def construct(self, x):
        return self.fc(self.lstm(x.squeeze(1))[0][:, -1])


OPTIMIZERS = {
    "sgd": lambda parameters: nn.Momentum(parameters, 0.1, 0.9),
    "nesterov": lambda parameters: nn.SGD(parameters, 0.1, 0.9, nesterov=True),
    "adam": lambda parameters: nn.Adam(parameters, 0.01),
    "adamw": lambda parameters: optim.AdamW(parameters, 0.01),
    "rmsprop": lambda parameters: optim.RMSprop(parameters, 0.01, momentum=0.9, centered=True),
    "adagrad": lambda parameters: optim.Adagrad(parameters, 0.01),
}
THEIR_OWN = ("learning_rate", "momentum", "max_exp_avg_sq.")  # given where they are made, or not used


def main(folder, case):
    model, optimizer = case.split("-")
    given = np.load(f"{folder}/{case}.npz")
    net = {"net": Net, "lstm": RowsLSTM}[model]()
    optimizer = OPTIMIZERS[optimizer](net.trainable_params())
    checkpoint = ms.load_checkpoint(f"{folder}/{case}.ckpt")
    missing, _ = ms.load_param_into_net(net, checkpoint)
    assert not missing, missing
    missing, _ = ms.load_param_into_net(optimizer, checkpoint)
    assert all(name.startswith(THEIR_OWN) for name in missing), missing

    net.set_train(False)
    np.save(f"{folder}/{case}-out.npy", net(Tensor(given["images"])).asnumpy())
    names = [parameter.name for parameter in net.trainable_params()]
    given_as = [name.replace("gamma", "weight").replace("beta", "bias") for name in names]
    optimizer(tuple(Tensor(given[name]) for name in given_as))
    both = {parameter.name: parameter for cell in (net, optimizer) for parameter in cell.get_parameters()}
    saved = [{"name": name, "data": value} for name, value in both.items()]
    ms.save_checkpoint(saved, f"{folder}/{case}-out.ckpt")


for case in sys.argv[2:]:
    main(sys.argv[1], case)
