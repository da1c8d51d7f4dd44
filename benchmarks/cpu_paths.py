"""Which way of running the network on a CPU is fastest, and whether the answers stay the same.

    python -m benchmarks.cpu_paths [--threads 1 2] [--rounds 60] [--compile] [--json FILE]

Times one face, and eight, from the prepared input to the last feature map, each way in turn in
every round, so that a busy moment of the machine meets all of them. A call that is not timed comes
before each that is, so that a way's own weights lie in the cache. Speed is that of the first way
over a way's own, by the minima and by the medians; differences are the largest to the first way,
of a logit and of a cell of evidence, in logits. ``served`` is what the app runs.
"""

import argparse
import copy
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from emotion.benchmark import EXAMPLE
from emotion.evidence import class_evidence
from emotion.fold import fold_norms
from emotion.images import load_image
from emotion.model import EmotionModel, load_model
from emotion.preprocess import preprocess
from emotion.weights import DEFAULT_MODEL

Way = Callable[[torch.Tensor], torch.Tensor]
"""Takes the input (N, 3, S, S) float32, gives the features (N, K, h, w)."""

BATCHES = (1, 8)


class Features(nn.Module):
    """A network whose forward pass ends at the features."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.eval()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.network.forward_features(x)


def channels_last(x: torch.Tensor) -> torch.Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def plain(model: EmotionModel) -> Way:
    network = copy.deepcopy(model.network).to(memory_format=torch.contiguous_format)
    return lambda x: network.forward_features(x)


def folded(model: EmotionModel) -> nn.Module:
    size = model.spec.input_size
    network = fold_norms(model.network, torch.zeros(1, 3, size, size))
    return network.to(memory_format=torch.channels_last)


def in_channels_last(network: nn.Module) -> Way:
    return lambda x: network.forward_features(channels_last(x))


def autocast(model: EmotionModel) -> Way:
    network = folded(model)

    def run(x: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return network.forward_features(channels_last(x))

    return run


def half_weights(model: EmotionModel) -> Way:
    network = folded(model).bfloat16()
    return lambda x: network.forward_features(channels_last(x).bfloat16())


def frozen(model: EmotionModel) -> Way:
    """Trace anew for each size of batch, as the trace holds it fast."""
    networks: dict[torch.Size, Any] = {}

    def run(x: torch.Tensor) -> torch.Tensor:
        if x.shape not in networks:
            with torch.inference_mode(False), torch.no_grad():
                traced = torch.jit.trace(Features(folded(model)).eval(), channels_last(x.clone()))
                networks[x.shape] = torch.jit.optimize_for_inference(torch.jit.freeze(traced))
        return networks[x.shape](channels_last(x))

    return run


def compiled(model: EmotionModel) -> Way:
    import torch._inductor.config as inductor

    inductor.freezing = True  # as an option of torch.compile it comes too late to take effect
    network = torch.compile(Features(folded(model)).eval())
    return lambda x: network(channels_last(x))


def onnx_runtime(model: EmotionModel) -> Way:
    import onnxruntime

    from train.onnx_file import to_onnx

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    data = to_onnx(model).SerializeToString()
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return lambda x: torch.from_numpy(session.run(["features"], {"image": x.numpy()})[0])


def ways_of(model: EmotionModel, *, compile_too: bool) -> dict[str, Callable[[], Way]]:
    """Return how each way is prepared; the first is the one that the others are measured by."""
    ways: dict[str, Callable[[], Way]] = {
        "plain": lambda: plain(model),
        "channels last": lambda: in_channels_last(model.network),
        "folded": lambda: in_channels_last(folded(model)),
        "served": lambda: in_channels_last(model.quick),
        "bfloat16 autocast": lambda: autocast(model),
        "bfloat16 weights": lambda: half_weights(model),
        "jit frozen": lambda: frozen(model),
        "onnxruntime": lambda: onnx_runtime(model),
    }
    if compile_too:
        ways["compiled"] = lambda: compiled(model)
    return ways


def prepare(
    ways: dict[str, Callable[[], Way]], x: torch.Tensor
) -> tuple[dict[str, Way], dict[str, str]]:
    """Build and warm up; returns the ways that work here, and why the others do not."""
    ready, failed = {}, {}
    for name, build in ways.items():
        try:
            way = build()
            for _ in range(3):
                way(x)
            ready[name] = way
        # Whatever is missing (onnxruntime, a compiler, an instruction), the others still count.
        except Exception as error:
            failed[name] = f"{type(error).__name__}: {str(error).strip().splitlines()[:1]}"
    return ready, failed


def time_ways(ways: dict[str, Way], x: torch.Tensor, rounds: int) -> dict[str, list[float]]:
    """Return milliseconds of each way, one number a round."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            way(x)
            began = time.perf_counter()
            way(x)
            times[name].append(1e3 * (time.perf_counter() - began))
    return times


def rows_of(
    model: EmotionModel, ways: dict[str, Way], x: torch.Tensor, rounds: int
) -> list[dict[str, Any]]:
    """Time the ways on one batch and compare their answers."""
    times = time_ways(ways, x, rounds)
    maps = {name: class_evidence(model, way(x).float()) for name, way in ways.items()}
    first, one = next(iter(maps.values())), next(iter(times.values()))
    return [
        {
            "threads": torch.get_num_threads(),
            "batch": len(x),
            "way": name,
            "min_ms": round(min(times[name]), 3),
            "p50_ms": round(statistics.median(times[name]), 3),
            "speed_by_min": round(min(one) / min(times[name]), 2),
            "speed_by_p50": round(statistics.median(one) / statistics.median(times[name]), 2),
            "logit_difference": float(abs((maps[name] - first).sum((2, 3))).max()),
            "evidence_difference": float(abs(maps[name] - first).max()),
        }
        for name in ways
    ]


def faces(model: EmotionModel, count: int) -> torch.Tensor:
    """Return (count, 3, S, S): the drawn faces, each moved a little further than the last."""
    paths = [path for path in sorted(EXAMPLE.parent.glob("*.jpg")) if path.stem != "four-faces"]
    images = [load_image(path) for path in paths]
    crops = [images[i % len(images)][8 * i :, 8 * i :] for i in range(count)]
    return preprocess([np.ascontiguousarray(crop) for crop in crops], model.spec)


def print_rows(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        print(
            f"{row['threads']} threads  {row['batch']} faces  {row['way']:18}"
            f"min {row['min_ms']:7.2f} ms  p50 {row['p50_ms']:7.2f} ms  "
            f"speed {row['speed_by_min']:5.2f} / {row['speed_by_p50']:5.2f}  "
            f"logits {row['logit_difference']:.1e}  evidence {row['evidence_difference']:.1e}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--compile", action="store_true", help="torch.compile too: half a minute")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    rows: list[dict[str, Any]] = []
    failed: dict[str, str] = {}
    for threads in args.threads:
        torch.set_num_threads(threads)
        # Loaded after the number of threads is set, which it is made ready for.
        model = load_model(args.model, device="cpu")
        with torch.inference_mode():
            for batch in BATCHES:
                x = faces(model, batch)
                ways, missing = prepare(ways_of(model, compile_too=args.compile), x)
                failed |= missing
                rows += rows_of(model, ways, x, args.rounds)
                print_rows(rows[-len(ways) :])
    for name, why in failed.items():
        print(f"{name}: left out, {why}")
    report = {
        "torch": torch.__version__,
        "processor": torch.backends.cpu.get_cpu_capability(),
        "rows": rows,
        "failed": failed,
    }
    if args.json:
        args.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
