"""The nets of the SVHN case: parts of torchvision's resnet18 and vgg16 for images of 28x28.

The parts are initialised as torchvision does; the layers added to them as PyTorch does by default, but for
the convolution before resnet18's stages, whose scale the batch norm after it takes away.
"""

from typing import Literal

from xtrain.models import resnet, vgg
from xtrain.spec import Conv2d, Flatten, Layer, MaxPool2d, ReLU, Shape
from xtrain.spec.base import Fraction, frozen


@frozen
class SVHNResNet:
    """3x3 convolution of 64, resnet18's layer2 and layer3 (svhn_resnet2: layer4 too), global pool, fc.

    svhn_resnet: 2,629,706 parameters and 206.9 M multiply-adds for 10 classes and 3x28x28;
    svhn_resnet2: 11,025,994.
    """

    name: Literal["svhn_resnet", "svhn_resnet2"]

    def layers(self, input_shape: Shape, classes: int) -> tuple[Layer, ...]:
        """Stem, stages, head."""
        last = 3 if self.name == "svhn_resnet" else 4
        stages = (layer for number in range(2, last + 1) for layer in resnet.stage(number, blocks=2))
        return (*resnet.stem("cifar"), *stages, *resnet.head(classes))


@frozen
class SVHNVGG:
    """vgg16's first nine feature modules, a 3x3 convolution of 128, a pool, 4096-4096-classes.

    42,924,234 parameters and 145.2 M multiply-adds for 10 classes and 3x28x28, which leave 6272 features.
    """

    name: Literal["svhn_vgg"] = "svhn_vgg"
    dropout: Fraction = 0.5

    def layers(self, input_shape: Shape, classes: int) -> tuple[Layer, ...]:
        """Features, classifier."""
        added = (Conv2d(out_channels=128, kernel_size=3, padding=1), ReLU(), MaxPool2d(kernel_size=2))
        layers = (*vgg.features((2, 2), batch_norm=False)[:9], *added)
        classifier = vgg.classifier(classes, self.dropout, "default")
        return (*vgg.numbered("features", layers), Flatten(name="flatten"), *classifier)
