"""Where eyes, brows, nose and mouth lie in the faces that the model was trained on.

    python -m benchmarks.face_template --data DIR [--yunet FILE] [--limit 900]

Prints, as JSON, mean places over the validation split in units of the crop's side, made symmetric:
dlib's 68 landmarks and box, and YuNet's five points. `emotion/landmarks.py` holds these numbers:
a face in a photograph is brought to the same place before it is classified.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from benchmarks.pictures import SIDE, in_picture
from emotion.detect import HogDetector, YunetDetector
from emotion.landmarks import find_landmarks
from train.datasets import load_faces

MARGIN = 96
MIRROR_5 = [1, 0, 2, 4, 3]
MIRROR_68 = [
    *range(16, -1, -1),
    *range(26, 16, -1),
    *range(27, 31),
    *range(35, 30, -1),
    *(45, 44, 43, 42, 47, 46),
    *(39, 38, 37, 36, 41, 40),
    *range(54, 47, -1),
    *range(59, 54, -1),
    *range(64, 59, -1),
    *(67, 66, 65),
]
"""Which landmark takes each one's place when the picture is mirrored."""


def symmetric(points: np.ndarray, mirror: list[int]) -> np.ndarray:
    """Average points (N, 2) in [0, 1] with their mirror image."""
    mirrored = points[mirror] * [-1, 1] + [1, 0]
    return (points + mirrored) / 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--yunet", type=Path)
    parser.add_argument("--limit", type=int, default=900)
    args = parser.parse_args()
    hog = HogDetector()
    yunet = YunetDetector(args.yunet) if args.yunet else None
    landmarks, boxes, fives = [], [], []
    for crop in load_faces(args.data, "validation").crops[: args.limit]:
        image = in_picture(crop, MARGIN)
        found = hog.detect(image, min_face=80)
        if len(found) == 1:
            boxes.append((found[0].box - MARGIN) / SIDE)
            landmarks.append((find_landmarks(image, found[0]) - MARGIN) / SIDE)
        seen = yunet.detect(image, min_face=80) if yunet else ()
        if len(seen) == 1:
            fives.append((seen[0].landmarks - MARGIN) / SIDE)
    report = {
        "n_hog": len(boxes),
        "hog_box": np.mean(boxes, 0, dtype=float).round(3).tolist(),
        "mean_face": symmetric(np.mean(landmarks, 0), MIRROR_68).round(3).tolist(),
        "n_yunet": len(fives),
    }
    if fives:
        report["yunet_five"] = symmetric(np.mean(fives, 0, dtype=float), MIRROR_5).round(4).tolist()
    print(json.dumps(report))


if __name__ == "__main__":
    main()
