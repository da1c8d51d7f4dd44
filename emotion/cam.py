"""The methods of the `grad-cam` package, made safe to call from many threads.

That package hooks the network it explains, and a live hook corrupts every other use of it.
So it gets a private copy of the network, one call at a time, and the hooks are always
released. Its maps are kept as they are before it normalises each to [0, 1], which would
show noise as full heat.

Source: https://github.com/jacobgil/pytorch-grad-cam (MIT).
"""

import copy
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import torch
from pytorch_grad_cam import (
    EigenCAM,
    GradCAM,
    GradCAMPlusPlus,
    HiResCAM,
    LayerCAM,
    ScoreCAM,
    score_cam,
)
from pytorch_grad_cam.base_cam import BaseCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import nn

from emotion.model import EmotionModel
from emotion.preprocess import Crop, preprocess
from emotion.results import FloatArray, check_shape, label_index

# ScoreCAM draws a progress bar on the standard error of whoever calls it, for four small batches.
score_cam.tqdm = SimpleNamespace(tqdm=lambda batches: batches)

METHODS: dict[str, type[BaseCAM]] = {
    "gradcam": GradCAM,
    "gradcam++": GradCAMPlusPlus,
    "hirescam": HiResCAM,
    "layercam": LayerCAM,
    "scorecam": ScoreCAM,
    "eigencam": EigenCAM,
}
LAST = "last"


@dataclass(frozen=True, slots=True, eq=False)
class CamMap:
    """A map by one of the package's methods.

    Attributes:
        map: (h, w) float32, before any normalising or clipping; units depend on the method.
        method, layer, label: what was asked.
    """

    map: FloatArray
    method: str
    layer: str
    label: str

    def __post_init__(self) -> None:
        check_shape("map", self.map, (None, None))

    @property
    def peak(self) -> float:
        """The largest value; at or below 0 there is no positive evidence to show."""
        return float(self.map.max())


class Tapped(nn.Module):
    """A network whose last feature map is the output of a layer that can be hooked."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.last = nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        features = self.last(self.network.forward_features(x))  # type: ignore[operator]
        out: torch.Tensor = self.network.forward_head(features)  # type: ignore[operator]
        return out


class CamExplainer:
    """Grad-CAM and its relatives for one model; may be shared by threads.

    Args:
        model: is copied; it is never hooked itself.
    """

    def __init__(self, model: EmotionModel) -> None:
        self.spec = model.spec
        self.device = model.device
        self.tapped = Tapped(copy.deepcopy(model.network)).requires_grad_(True).eval()
        self.lock = threading.Lock()

    def layers(self) -> tuple[str, ...]:
        """Return the names that ``layer`` takes, from the input side on, ``last`` at the end."""
        children = dict(self.tapped.network.named_modules())
        blocks = [n for n, m in children.items() if n.count(".") == 1 and list(m.children())]
        return (*blocks, LAST)

    def layer_sizes(self, crop: Crop) -> dict[str, int]:
        """Return the height of each layer's map, in cells, by its name in :meth:`layers`."""
        sizes: dict[str, int] = {}

        def note(name: str) -> Callable[..., None]:
            def hook(_module: nn.Module, _inputs: object, output: torch.Tensor) -> None:
                sizes[name] = output.shape[-2]

            return hook

        x = preprocess([crop], self.spec).to(self.device)
        with self.lock, torch.no_grad():
            hooks = [self.find_layer(n).register_forward_hook(note(n)) for n in self.layers()]
            try:
                self.tapped(x)
            finally:
                for hook in hooks:
                    hook.remove()
        return sizes

    def explain(
        self, crop: Crop, label: str, *, method: str = "gradcam", layer: str = LAST
    ) -> CamMap:
        """Compute one map.

        Args:
            crop: (S, S, 3) or (S, S) uint8, an aligned face.
            label: of the class to explain.
            method: one of :data:`METHODS`. layer: one of :meth:`layers`.

        Raises:
            ValueError: an unknown label, method or layer; the message lists the known ones.
        """
        target = ClassifierOutputTarget(label_index(self.spec.labels, label))
        kind = METHODS.get(method)
        if kind is None:
            raise ValueError(f"no method {method!r}; expected one of {', '.join(METHODS)}")
        module = self.find_layer(layer)
        x = preprocess([crop], self.spec).to(self.device)
        with self.lock, torch.enable_grad(), torch.inference_mode(False):
            cam = kind(model=self.tapped, target_layers=[module])
            try:
                raw = run_raw(cam, x.clone(), target)
            finally:
                cam.activations_and_grads.release()
                self.tapped.zero_grad(set_to_none=True)
        return CamMap(map=raw, method=method, layer=layer, label=label)

    def find_layer(self, layer: str) -> nn.Module:
        """Return the module of a layer's name, or raise ``ValueError``."""
        if layer not in self.layers():
            raise ValueError(f"no layer {layer!r}; expected one of {', '.join(self.layers())}")
        return self.tapped.last if layer == LAST else self.tapped.network.get_submodule(layer)


def run_raw(cam: BaseCAM, x: torch.Tensor, target: ClassifierOutputTarget) -> FloatArray:
    """Run a method and return its map (h, w) as it was before being scaled to [0, 1]."""
    seen: list[FloatArray] = []
    compute = cam.get_cam_image

    def record(*args: object, **kwargs: object) -> FloatArray:
        seen.append(np.asarray(compute(*args, **kwargs), np.float32))
        return seen[-1]

    cam.get_cam_image = record
    cam.batch_size = 64
    cam(input_tensor=x, targets=[target])
    return seen[0][0]
