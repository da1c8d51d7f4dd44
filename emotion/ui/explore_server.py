"""The server's half of the Explore tab: a face and a wish in, numbers out.

It keeps nothing: the page sends the face's crop and landmarks along with each wish, so any server
process may answer, and two pages never meet. Answers are JSON objects, errors ``{"error": words}``.
"""

import io
import json
import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

import cv2
import numpy as np

from emotion.cam import LAST, CamExplainer
from emotion.contrast import contrast
from emotion.errors import EmotionError, ImageError
from emotion.facs import facs_note
from emotion.faithfulness import INFILLS, SIDE, hide, prove
from emotion.images import load_image
from emotion.methods import compare_methods, middle_layer
from emotion.model import load_model
from emotion.parts import part_drops
from emotion.pipeline import AlignedFace, EmotionPipeline
from emotion.regions import describe
from emotion.render import encode
from emotion.report import explain_face, report_json
from emotion.report_page import report_html
from emotion.results import Face, FaceResult
from emotion.serialize import by_name, parts_json
from emotion.ui import cards, texts
from emotion.ui.gate import BusyError, Gate
from emotion.ui.wire import crop_of, face_payload, file_of, mask_of, numbers, points_of, text_of
from emotion.weights import available_models

logger = logging.getLogger(__name__)

MOST_FACES = 8
PATIENCE = 20.0


class ExploreServer:
    """Answers the wishes of all pages.

    Args:
        pipeline: the default one. gate: bounds how much is worked on at once.
    """

    def __init__(self, pipeline: EmotionPipeline, gate: Gate) -> None:
        self.gate = gate
        self.default = pipeline.model.spec.name
        self.pipelines = {self.default: pipeline}
        self.explainers: dict[str, CamExplainer] = {}
        self.lock = threading.Lock()

    def models(self) -> tuple[str, ...]:
        """Return the models that may be chosen, the default one first."""
        return (self.default, *(name for name in available_models() if name != self.default))

    def pipeline(self, data: Mapping[str, Any]) -> EmotionPipeline:
        """Return the pipeline with the model that is asked for; it is loaded when first needed."""
        name = data.get("model") or self.default
        if name not in self.models():
            raise ImageError(f"there is no model {str(name)[:40]!r}")
        with self.lock:
            if name not in self.pipelines:
                first = self.pipelines[self.default]
                model = load_model(name, device=first.model.device.type)
                self.pipelines[name] = EmotionPipeline(
                    model, first.detector, min_face=first.min_face
                )
            return self.pipelines[name]

    def explainer(self, pipeline: EmotionPipeline) -> CamExplainer:
        """Return what runs the grad-cam package on a pipeline's model."""
        name = pipeline.model.spec.name
        with self.lock:
            if name not in self.explainers:
                self.explainers[name] = CamExplainer(pipeline.model)
            return self.explainers[name]

    # --- what the page calls ---------------------------------------------------------------------

    def open(self, data: Any) -> dict[str, Any]:
        """Find the faces of a picture.

        Args:
            data: an object with ``picture`` (base64 of a file) and maybe ``model``.
        """
        return self.answered(self.find, data)

    def ask(self, data: Any) -> dict[str, Any]:
        """Answer a wish about one face.

        Args:
            data: an object with ``crop`` (base64 PNG), ``points`` (68 pairs in crop units),
                ``wish`` (``hide``, ``why`` or ``methods``), and, as the wish needs them,
                ``model``, ``mask`` (base64 of 96 x 96 bytes), ``infill``, ``label``, ``versus``,
                ``layer``.
        """
        wishes = {"hide": self.hidden, "why": self.why, "methods": self.methods}

        def work(data: Mapping[str, Any]) -> dict[str, Any]:
            wish = wishes.get(str(data.get("wish")))
            if wish is None:
                raise ImageError(f"there is no wish {str(data.get('wish'))[:40]!r}")
            return wish(data)

        return self.answered(work, data)

    def report(self, data: Any) -> dict[str, Any]:
        """Make a report of one face.

        Args:
            data: an object with ``picture``, ``name``, ``face`` (from 0), ``label``, ``versus``,
                and maybe ``model``, ``with_face``, ``methods``.
        """
        return self.answered(self.made_report, data)

    # --- how it is done --------------------------------------------------------------------------

    def answered(
        self, work: Callable[[Mapping[str, Any]], dict[str, Any]], data: Any
    ) -> dict[str, Any]:
        """Do the work in turn; put whatever goes wrong into words."""
        try:
            if not isinstance(data, Mapping):
                raise ImageError("expected one object")
            with self.gate.turn(PATIENCE):
                return work(data)
        except BusyError:
            return {"error": texts.BUSY}
        except (EmotionError, ValueError) as error:
            return {"error": f"This cannot be done: {error}."}
        except Exception:
            logger.exception("answering the Explore tab failed")
            return {"error": texts.BROKEN}

    def find(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Answer :meth:`open`; errors are raised."""
        pipeline = self.pipeline(data)
        faces = pipeline(load_image(file_of(data))).faces
        if not faces:
            return {"error": texts.NO_FACE}
        return {"faces": [face_payload(face) for face in faces[:MOST_FACES]], "count": len(faces)}

    def read(self, data: Mapping[str, Any]) -> tuple[EmotionPipeline, FaceResult]:
        """Return the pipeline, and the face that a page sent along."""
        pipeline = self.pipeline(data)
        crop = crop_of(data)
        points = points_of(data) * len(crop)
        box = np.array([0, 0, len(crop), len(crop)], np.float32)
        face = Face(box=box, score=0.0, landmarks=points.astype(np.float32))
        to_crop = np.array([[1 / len(crop), 0, 0], [0, 1 / len(crop), 0]])
        return pipeline, pipeline.read([AlignedFace(face, crop, to_crop)])[0]

    def hidden(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Answer what becomes of the face when a part is hidden."""
        pipeline, crop = self.pipeline(data), crop_of(data)
        small = np.asarray(cv2.resize(crop, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.uint8)
        infill = data.get("infill") or INFILLS[0]
        changed = hide(small, mask_of(data), str(infill))
        face = Face(box=np.array([0, 0, SIDE, SIDE], np.float32), score=0.0)
        result = pipeline.read([AlignedFace(face, changed, np.eye(2, 3) / SIDE)])[0]
        return numbers(result) | {"shown": text_of(encode(changed, "PNG"))}

    def why(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Answer why it is this label, and not that one, and put the map to the test."""
        pipeline, face = self.read(data)
        against = contrast(
            face.prediction, face.explanation, data.get("label"), data.get("versus") or None
        )
        label = against.label
        return {
            "label": label,
            "versus": against.other,
            "sentence": describe(face.prediction, face.explanation, label),
            "contrast": against.sentence,
            "contrast_regions": by_name(against.regions, against.region_evidence),
            "facs": facs_note(face.explanation, label),
            "parts": parts_json(part_drops(pipeline.model, face, label)),
            "proof": cards.proof_html(prove(pipeline.model, face, label)),
        }

    def methods(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Answer with every method's map."""
        pipeline, face = self.read(data)
        explainer = self.explainer(pipeline)
        layer = str(data.get("layer") or "")
        found = compare_methods(pipeline.model, explainer, face, data.get("label"), layer=layer)
        sizes = explainer.layer_sizes(face.crop)
        return {
            "layers": [{"name": name, "cells": size} for name, size in sizes.items()],
            "layer": layer or middle_layer(explainer, face.crop),
            "methods": [
                {
                    "name": m.method.name,
                    "note": m.method.note,
                    "cost": m.method.cost,
                    "agreement": m.agreement,
                    "same_as": m.same_as,
                    "earlier": m.method.layer != LAST,
                    "nothing": m.peak <= 0,
                    "evidence": m.map.astype(float).tolist(),
                    "grid_origin": m.origin,
                    "grid_step": m.step,
                    # Units differ: each map's strongest cell has full colour.
                    "scale": (float(np.abs(m.map).max()) or 1.0) * m.map.size,
                }
                for m in found
            ],
        }

    def made_report(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Answer :meth:`report`; errors are raised."""
        pipeline, picture = self.pipeline(data), file_of(data)
        name = str(data.get("name") or "picture")[:200]
        faces = pipeline(load_image(picture)).faces
        index = data.get("face", 0)
        if not isinstance(index, int):
            raise ImageError("face must be a whole number")
        explained = explain_face(
            pipeline, faces, index, label=data.get("label"), other=data.get("versus") or None
        )
        report = report_json(pipeline, explained, data=picture, name=name)
        crop = explained.face.crop if data.get("with_face") else None
        raw = io.BytesIO()
        np.save(raw, explained.face.explanation.evidence)
        return {
            "stem": f"{cards.stem(name)}.face{index + 1}",
            "html": report_html(explained, report, crop=crop),
            "json": json.dumps(report, indent=2, ensure_ascii=False),
            "npy": text_of(raw.getvalue()),
        }
