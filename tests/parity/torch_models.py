"""The models as torch modules that are not ours: torchvision's own, or put together from its parts."""

from collections import OrderedDict

import torch
import torchvision
from torch import nn
from torch.nn import functional

VGGS = [f"vgg{depth}{norm}" for depth in (11, 13, 16, 19) for norm in ("", "_bn")]
RESNETS = ["resnet18", "resnet34", "resnet50"]


def cifar_vgg(name, classes):
    """Without the pool to 7x7, and 512 features, as in weiaicunzai/pytorch-cifar100."""
    model = torchvision.models.get_model(name, num_classes=classes)
    model.avgpool = nn.Identity()
    model.classifier[0] = nn.Linear(512, 4096)
    return model


def cifar_resnet(name, classes):
    """A 3x3 convolution for the stem, as there."""
    model = torchvision.models.get_model(name, num_classes=classes)
    model.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    model.maxpool = nn.Identity()
    return model


def svhn_resnet(stages, classes):
    """Parts of resnet18."""
    whole = torchvision.models.resnet18()
    parts = [("conv1", nn.Conv2d(3, 64, 3, padding=1, bias=False)), ("bn1", whole.bn1), ("relu", whole.relu)]
    parts += [(stage, getattr(whole, stage)) for stage in stages]
    features = whole.get_submodule(stages[-1])[-1].conv2.out_channels
    parts += [("avgpool", whole.avgpool), ("flatten", nn.Flatten()), ("fc", nn.Linear(features, classes))]
    return nn.Sequential(OrderedDict(parts))


def svhn_vgg(classes):
    """Parts of vgg16."""
    added = [nn.Conv2d(128, 128, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    hidden = [nn.Linear(6272, 4096), nn.ReLU(), nn.Dropout(), nn.Linear(4096, 4096), nn.ReLU(), nn.Dropout()]
    parts = {
        "features": nn.Sequential(*torchvision.models.vgg16().features[:9], *added),
        "flatten": nn.Flatten(),
        "classifier": nn.Sequential(*hidden, nn.Linear(4096, classes)),
    }
    return nn.Sequential(OrderedDict(parts))


class WideBlock(nn.Module):
    """The paper's pre-activation block; its first norm is its own where the width stays."""

    def __init__(self, before, channels, stride):
        super().__init__()
        if before == channels:
            self.bn1 = nn.BatchNorm2d(before)
        self.conv1 = nn.Conv2d(before, channels, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        if before != channels:
            self.shortcut = nn.Conv2d(before, channels, 1, stride, bias=False)

    def forward(self, x):
        narrow = hasattr(self, "shortcut")
        y = x if narrow else functional.relu(self.bn1(x))
        y = self.conv2(functional.relu(self.bn2(self.conv1(y))))
        return y + (self.shortcut(x) if narrow else x)


class WideResNet(nn.Module):
    """Zagoruyko & Komodakis, 2016, without dropout."""

    def __init__(self, depth, width, classes):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        before = 16
        for number, channels in enumerate((16 * width, 32 * width, 64 * width), 1):
            parts = OrderedDict()
            if before != channels:
                parts["bn"] = nn.BatchNorm2d(before)
                parts["relu"] = nn.ReLU()
            for place in range((depth - 4) // 6):
                stride = 2 if number > 1 and place == 0 else 1
                parts[str(place)] = WideBlock(before, channels, stride)
                before = channels
            self.add_module(f"layer{number}", nn.Sequential(parts))
        self.bn, self.fc = nn.BatchNorm2d(before), nn.Linear(before, classes)

    def forward(self, x):
        x = self.layer3(self.layer2(self.layer1(self.conv1(x))))
        return self.fc(functional.relu(self.bn(x)).mean((2, 3)))


class RowsLSTM(nn.Module):
    """The last step over the rows of 3x28x24, the channels' pixels one after the other."""

    def __init__(self, hidden_size, num_layers, classes):
        super().__init__()
        self.lstm = nn.LSTM(3 * 24, hidden_size, num_layers, batch_first=True)
        self.fc = nn.Linear(hidden_size, classes)

    def forward(self, x):
        return self.fc(self.lstm(x.transpose(1, 2).flatten(2))[0][:, -1])


OWN = {"svhn_vgg": svhn_vgg, "wide_resnet": WideResNet, "lstm": RowsLSTM}
STAGES = {"svhn_resnet": ("layer2", "layer3"), "svhn_resnet2": ("layer2", "layer3", "layer4")}


def make(name, classes, **options):
    """The module for a family's name and options."""
    if name in OWN:
        return OWN[name](**options, classes=classes)
    if name in STAGES:
        return svhn_resnet(STAGES[name], classes)
    if options.get("head") == "cifar":
        return cifar_vgg(name, classes)
    if options.get("stem") == "cifar":
        return cifar_resnet(name, classes)
    return torchvision.models.get_model(name, num_classes=classes)


def outline(name, classes, **options):
    """The same without weights: quick for the largest too."""
    with torch.device("meta"):
        return make(name, classes, **options)


def settled(name, classes, **options):
    """Its initial weights, and batch norms as after some training, so that evaluation mode shows them."""
    torch.manual_seed(0)
    model = make(name, classes, **options)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.running_var):
                nn.init.uniform_(tensor, 0.5, 1.5)
            for tensor in (module.bias, module.running_mean):
                nn.init.normal_(tensor, std=0.1)
    return model.eval()


def state(model):
    """Its state_dict as NumPy arrays, without what only torch counts."""
    tensors = model.state_dict().items()
    return {name: value.numpy() for name, value in tensors if not name.endswith("num_batches_tracked")}
