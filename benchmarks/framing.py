"""What finding and aligning a face costs in accuracy, against the data set's own crop.

    python -m benchmarks.framing --data DIR [--yunet FILE] [--weights NAME] [--limit 1600]

Each validation face is enlarged, set into a larger picture, found, aligned and cut out as in the
app, then classified; and so again with the cut made tighter or wider than the app makes it. Prints
JSON. Only faces that the detector finds once are counted, the same ones in every row.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from benchmarks.pictures import in_picture
from emotion import classify, load_model
from emotion.align import warp
from emotion.detect import load_detector
from emotion.geometry import Matrix
from emotion.pipeline import align_face
from emotion.weights import DEFAULT_MODEL
from train.datasets import load_faces

MARGIN = 64
ZOOMS = (0.8, 0.9, 1.0, 1.1, 1.2, 1.3)


def widen(to_crop: Matrix, factor: float) -> Matrix:
    """Let an alignment show ``factor`` times as much of the picture, about the same middle."""
    wider = to_crop / factor
    wider[:, 2] += 0.5 - 0.5 / factor
    return wider


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--yunet", type=Path)
    parser.add_argument("--weights", default=DEFAULT_MODEL, help="a model's name, or its file")
    parser.add_argument("--limit", type=int, default=1600)
    args = parser.parse_args()
    faces = load_faces(args.data, "validation")
    faces = faces.where(faces.labels >= 0)
    detector = load_detector("yunet" if args.yunet else "hog", yunet=args.yunet)
    model = load_model(args.weights)
    rows = []
    for crop, label in zip(faces.crops[: args.limit], faces.labels[: args.limit], strict=True):
        image = in_picture(crop, MARGIN)
        found = detector.detect(image, min_face=80)
        if len(found) == 1:
            rows.append((crop, label, image, align_face(image, found[0]).to_crop))
    labels = [model.spec.labels[row[1]] for row in rows]

    def accuracy(crops: list[np.ndarray]) -> float:
        answers = classify(model, crops)
        return round(
            float(np.mean([a.label == b for a, b in zip(answers, labels, strict=True)])), 4
        )

    report = {
        "detector": detector.name,
        "n": len(rows),
        "own_crop": accuracy([row[0] for row in rows]),
        "found_and_aligned": {
            str(zoom): accuracy([warp(image, widen(m, zoom)) for _, _, image, m in rows])
            for zoom in ZOOMS
        },
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
