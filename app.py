"""python app.py: build the page and serve it."""

import argparse
import contextlib
import os
from pathlib import Path

# Before gradio is imported: no usage statistics leave this machine.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

# Before torch is loaded: one thread for each picture. Several viewers then use the cores side by
# side; threads within a picture gain a little for one viewer and cost all others more (two cores,
# four live viewers: 42 frames/s together; with two threads for each picture 39, and a photo then
# waits 0.95 s and not 0.47 s; python -m benchmarks.live).
os.environ.setdefault("OMP_NUM_THREADS", "1")

with contextlib.suppress(ImportError):
    import spaces  # noqa: F401  (on Hugging Face Spaces; must come before torch)

from emotion.detect import DETECTORS
from emotion.pipeline import load_pipeline
from emotion.ui.demo import build_demo, launch
from emotion.weights import DEFAULT_MODEL


def main() -> None:
    """Read the flags, load the pipeline once, serve."""
    parser = argparse.ArgumentParser(description="Emotion Lens, the web page.")
    parser.add_argument("--host", default=None, help="address to listen on (default 127.0.0.1)")
    parser.add_argument("--port", type=int, default=None, help="default: the first free from 7860")
    parser.add_argument("--open", action="store_true", help="open the page in the browser")
    parser.add_argument("--detector", choices=DETECTORS, default="auto")
    parser.add_argument("--yunet", type=Path, metavar="FILE", help="YuNet's ONNX file")
    parser.add_argument("--model", default=DEFAULT_MODEL, metavar="NAME")
    parser.add_argument("--device", default=None, metavar="D", help="cpu, cuda or mps")
    args = parser.parse_args()
    pipeline = load_pipeline(
        args.model, detector=args.detector, device=args.device, yunet=args.yunet
    )
    pipeline.warm_up()  # so that the first visitor need not wait for it
    launch(build_demo(pipeline), server_name=args.host, server_port=args.port, inbrowser=args.open)


if __name__ == "__main__":
    main()
