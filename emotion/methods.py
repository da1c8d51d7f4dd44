"""Several methods' maps of one face, side by side, each with what it costs and how far to trust it.

The trust is one number: the rank correlation of a map with occlusion on this very face. Where two
methods give the same map by construction, that is said, and the picture is not shown twice.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from emotion.cam import LAST, CamExplainer
from emotion.evidence import spread
from emotion.images import RGBImage
from emotion.model import EmotionModel
from emotion.occlusion import CELLS, occlusion_map
from emotion.parts import spearman
from emotion.results import FaceResult, FloatArray, label_index

MIDDLE = "middle"
"""Stands for the last layer whose map is finer than the last one's."""


@dataclass(frozen=True, slots=True)
class Method:
    """A way to a map.

    Attributes:
        name: for a reader. cam: of :data:`emotion.cam.METHODS`; none for our own.
        layer: ``last`` or ``middle``. cost: forward passes beyond the one that classifies; a
            backward pass counts as two.
        note: what to know of it.
    """

    name: str
    cam: str
    layer: str
    cost: str
    note: str


METHODS = (
    Method("exact evidence", "", LAST, "0", "Its cells and the bias sum to the logit."),
    Method("Grad-CAM", "gradcam", LAST, "1 + backward", ""),
    Method("HiResCAM", "hirescam", LAST, "1 + backward", ""),
    Method(
        "Grad-CAM++", "gradcam++", LAST, "1 + backward", "Weighs channels by second derivatives."
    ),
    Method(
        "LayerCAM", "layercam", MIDDLE, "1 + backward", "Finer, from an earlier layer; not a sum."
    ),
    Method(
        "HiResCAM, earlier",
        "hirescam",
        MIDDLE,
        "1 + backward",
        "Finer; what later layers add is left out.",
    ),
    Method(
        "ScoreCAM",
        "scorecam",
        LAST,
        "one for each channel",
        "Shows the model the face through each channel.",
    ),
    Method(
        "EigenCAM", "eigencam", LAST, "1", "Asks what stands out; the label makes no difference."
    ),
    Method("occlusion", "", LAST, "49", "Hides patch after patch: the yardstick."),
)
SAME = 1e-5
"""Largest difference, relative to the peak, of maps that are called the same."""


@dataclass(frozen=True, slots=True, eq=False)
class MethodMap:
    """One method's map of one face.

    Attributes:
        method: see :class:`Method`. map: (h, w) float32, not normalised; units differ.
        origin, step: centre of the first cell and distance of centres, as fractions of the crop.
        agreement: rank correlation with occlusion, in [-1, 1]; 1 for occlusion itself.
        same_as: the name of the method whose map it equals up to a factor; empty for none.
    """

    method: Method
    map: FloatArray
    origin: float
    step: float
    agreement: float
    same_as: str

    @property
    def peak(self) -> float:
        """The largest value; at or below 0 nothing speaks for the label."""
        return float(self.map.max())


def compare_methods(
    model: EmotionModel,
    explainer: CamExplainer,
    face: FaceResult,
    label: str | None = None,
    *,
    methods: Sequence[Method] = METHODS,
    layer: str = "",
) -> tuple[MethodMap, ...]:
    """Explain one face by several methods.

    Args:
        model: that gave the result. explainer: of the same model.
        label: by default the most probable one. methods: by default all.
        layer: for the methods of an earlier layer, one of :meth:`CamExplainer.layers`; by default
            the last one that is finer than the last of all.

    Raises:
        ValueError: no such label or layer.
    """
    label = label or face.prediction.label
    label_index(face.prediction.labels, label)
    occluded = occlusion_map(model, face.crop, label)
    yardstick = at_cells(occluded, 0.5 / CELLS, 1 / CELLS)
    layer = layer or middle_layer(explainer, face.crop)
    explainer.find_layer(layer)
    found: list[MethodMap] = []
    for method in methods:
        raw = method_map(explainer, method, face, label=label, occluded=occluded, layer=layer)
        origin, step = placement(model, raw, method)
        value = spearman(at_cells(raw, origin, step).ravel(), yardstick.ravel())
        same = next((m.method.name for m in found if not m.same_as and equal(m.map, raw)), "")
        found.append(MethodMap(method, raw, origin, step, value, same))
    return tuple(found)


def method_map(
    explainer: CamExplainer,
    method: Method,
    face: FaceResult,
    *,
    label: str,
    occluded: FloatArray,
    layer: str,
) -> FloatArray:
    """Return one method's map, (h, w) float32."""
    if method.name == "occlusion":
        return occluded
    if not method.cam:  # of any label; no pass through the network
        return face.explanation.evidence[label_index(face.prediction.labels, label)]
    where = LAST if method.layer == LAST else layer
    return explainer.explain(face.crop, label, method=method.cam, layer=where).map


def middle_layer(explainer: CamExplainer, crop: RGBImage) -> str:
    """Return the last layer whose map is finer than the last one's, or ``last`` without one."""
    sizes = explainer.layer_sizes(crop)
    finer = [name for name, size in sizes.items() if size > sizes[LAST]]
    return finer[-1] if finer else LAST


def placement(model: EmotionModel, raw: FloatArray, method: Method) -> tuple[float, float]:
    """Return where a map's cells lie on the crop."""
    if method.name == "occlusion":
        return 0.5 / CELLS, 1 / CELLS
    if method.layer == LAST:
        return model.spec.grid_on_crop()
    # A step is a power of two; the cells lie evenly about the middle.
    size = model.spec.input_size
    step = 2.0 ** round(np.log2(size / len(raw)))
    return (size - step * (len(raw) - 1)) / 2 / size, step / size


def at_cells(raw: FloatArray, origin: float, step: float) -> FloatArray:
    """Return a map on the patches of occlusion, (7, 7)."""
    laid = spread(raw, CELLS * 12, origin=origin, step=step)
    out: FloatArray = cv2.resize(laid, (CELLS, CELLS), interpolation=cv2.INTER_AREA)
    return out


def equal(a: FloatArray, b: FloatArray) -> bool:
    """Whether two maps are the same, but for a positive factor."""
    if a.shape != b.shape:
        return False
    peaks = [float(np.abs(m).max()) for m in (a, b)]
    if min(peaks) == 0:
        return max(peaks) == 0
    return bool(np.abs(a / peaks[0] - b / peaks[1]).max() < SAME * 10)
