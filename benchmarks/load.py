"""Many threads, one pipeline, requests of every kind: nothing breaks, no answer differs.

python -m benchmarks.load                          # 8 threads x 500 requests, JSON on stdout
python -m benchmarks.load --threads 4 --requests 20

Every answer is compared with the one that a single thread got before. Memory is read after each
round, when all threads have ended and what the allocator kept for later was given back. The drawn
examples stand in for photographs.
"""

import argparse
import contextlib
import ctypes
import gc
import json
import random
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from emotion.cam import METHODS, CamExplainer
from emotion.classify import classify
from emotion.contrast import contrast
from emotion.faithfulness import SIDE, hide, prove
from emotion.images import load_image
from emotion.methods import compare_methods
from emotion.occlusion import occlusion_map
from emotion.parts import part_drops
from emotion.pipeline import EmotionPipeline, load_pipeline
from emotion.results import FaceResult

EXAMPLES = Path(__file__).resolve().parents[1] / "emotion" / "examples"
NAMES = ("happiness", "sadness", "anger", "surprise")
CLOSE = 1e-3
ROUNDS = 10
Request = Callable[[], np.ndarray]


def numbers_of(proof: Any) -> np.ndarray:
    """Return a proof's numbers."""
    return np.array([[t.hidden, t.elsewhere, t.drop] for t in proof.trials])


def requests_for(pipeline: EmotionPipeline) -> dict[str, Request]:
    """Return every request that will be made, by name."""
    model, explainer = pipeline.model, CamExplainer(pipeline.model)
    found: dict[str, Request] = {}
    for name in NAMES:
        image = load_image(EXAMPLES / f"{name}.jpg")
        face: FaceResult = pipeline(image).faces[0]
        small = cv2.resize(face.crop, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        mask = np.zeros((SIDE, SIDE), bool)
        mask[60:85, 25:70] = True

        def add(kind: str, work: Request, name: str = name) -> None:
            found[f"{kind} {name}"] = work

        add("whole", lambda i=image: pipeline(i).faces[0].explanation.evidence)
        add("classify", lambda f=face: classify(model, [f.crop])[0].logits)
        add("evidence", lambda f=face: contrast(f.prediction, f.explanation).evidence)
        add("proof", lambda f=face: numbers_of(prove(model, f)))
        add("parts", lambda f=face: np.array(part_drops(model, f).drops))
        add("occlusion", lambda f=face: occlusion_map(model, f.crop, f.prediction.label))
        for infill in ("blur", "mean", "inpaint"):
            add(
                f"hide by {infill}",
                lambda s=small, m=mask, i=infill: classify(model, [hide(s, m, i)])[0].logits,
            )
        for method in METHODS:
            add(
                f"{method}",
                lambda f=face, m=method: (
                    explainer.explain(f.crop, f.prediction.label, method=m).map
                ),
            )
    face = pipeline(load_image(EXAMPLES / "happiness.jpg")).faces[0]
    found["methods happiness"] = lambda: np.array(
        [m.agreement for m in compare_methods(model, explainer, face)]
    )
    return found


def resident() -> float:
    """Return this process's resident memory in MB; 0 where it cannot be told."""
    try:
        text = Path("/proc/self/status").read_text()
    except OSError:
        return 0.0
    match = re.search(r"VmRSS:\s+(\d+)", text)
    return int(match.group(1)) / 1024 if match else 0.0


def settle() -> None:
    """Free what nobody uses: Python's garbage, and what the allocator keeps for later."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def differs(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two answers differ by more than rounding."""
    if a.shape != b.shape:
        return True
    return bool(np.abs(a - b).max(initial=0) > CLOSE * max(1.0, np.abs(a).max(initial=0)))


def hooks_left(model: Any) -> int:
    """Return how many hooks are on the networks of a model."""
    modules = [*model.network.modules(), *model.quick.modules()]
    return sum(len(m._forward_hooks) + len(m._backward_hooks) for m in modules)


def load(
    pipeline: EmotionPipeline, *, threads: int, requests: int, rounds: int = ROUNDS, seed: int = 0
) -> dict[str, Any]:
    """Make requests from many threads, and compare each answer with a lone thread's.

    Args:
        threads: at once. requests: of each of them, over all rounds.
        rounds: in which they are made; memory is read after each.

    Returns:
        How many requests of how many kinds, errors, answers that differ, seconds, memory.
    """
    kinds = requests_for(pipeline)
    wanted = {name: work() for name, work in kinds.items()}
    errors: list[str] = []
    different: set[str] = set()

    def work(number: int, count: int) -> None:
        draw = random.Random(number)
        for name in draw.choices(list(kinds), k=count):
            try:
                if differs(wanted[name], kinds[name]()):
                    different.add(name)
            except Exception as error:
                errors.append(f"{name}: {error!r}")

    began, memory, done = time.perf_counter(), [], 0
    for turn in range(rounds):
        count = (turn + 1) * requests // rounds - turn * requests // rounds
        numbers = [(seed * rounds + turn) * threads + n for n in range(threads)]
        workers = [threading.Thread(target=work, args=(n, count)) for n in numbers]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        done += threads * count
        settle()
        memory.append(round(resident(), 1))
    return {
        "threads": threads,
        "requests": done,
        "kinds": len(kinds),
        "errors": errors[:10],
        "different": sorted(different),
        "hooks_left": hooks_left(pipeline.model),
        "seconds": round(time.perf_counter() - began, 1),
        "memory_mb": memory,
        "memory_growth": round(memory[-1] / max(memory[0], 1) - 1, 4),
    }


def main() -> None:
    """Read the flags, run, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--requests", type=int, default=500, help="of each thread")
    args = parser.parse_args()
    torch.set_num_threads(1)
    pipeline = load_pipeline(detector="hog")
    print(json.dumps(load(pipeline, threads=args.threads, requests=args.requests), indent=2))


if __name__ == "__main__":
    main()
