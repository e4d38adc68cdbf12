"""What two frameworks are known to do differently, each as what the reference would give if it did so too.

A cause explains a divergence where its prediction fits what was observed, within the bound that the right
value does not keep.
"""

from xtrain.parity.causes import batches, layers, losses, updates
from xtrain.parity.causes.situation import Cause, Predict, Situation

CAUSES: dict[str, tuple[Cause, ...]] = {
    "data": batches.CAUSES,
    "forward": layers.FORWARD,
    "loss": losses.LOSS,
    "backward": losses.BACKWARD,
    "optimizer": updates.CAUSES,
    "buffers": layers.BUFFERS,
    "step": (),
}

__all__ = ["CAUSES", "Cause", "Predict", "Situation"]
