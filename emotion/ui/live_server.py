"""The server's half of the Live tab: frames in, numbers out, nothing on the disk.

The page calls these functions directly, beside the queue. Whatever it sends, the answer is a
small JSON object: numbers, ``{"busy": true}``, or ``{"error": words}``.
"""

import base64
import binascii
import io
import logging
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from PIL import Image, UnidentifiedImageError

from emotion.detect import load_detector
from emotion.errors import EmotionError, ImageError
from emotion.images import RGBImage, load_image
from emotion.pipeline import EmotionPipeline
from emotion.serialize import stream_json
from emotion.stream import Stream, StreamOptions
from emotion.ui import texts
from emotion.ui.gate import BusyError, Gate

logger = logging.getLogger(__name__)

MAX_BYTES = 2_000_000
MAX_SIDE = 1280
TOKEN = re.compile(r"[0-9a-f]{32}")
BUSY = {"busy": True}


class Viewer:
    """One page that streams: its stream, and whether a frame of it is being worked on."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.working = threading.Lock()
        self.seen = time.monotonic()


class LiveServer:
    """Answers the frames of all viewers; each has a stream of its own.

    Args:
        pipeline: shared by all.
        gate: bounds how many frames, and pictures of the Image tab, are worked on at once.
        patience: seconds that a frame waits for its turn; an old frame is worth nothing.
        most: viewers that are remembered; the one not seen for longest goes first.
        idle: seconds without a frame after which a viewer is forgotten.
    """

    def __init__(
        self,
        pipeline: EmotionPipeline,
        gate: Gate,
        *,
        patience: float = 0.5,
        most: int = 64,
        idle: float = 60.0,
    ) -> None:
        self.gate, self.patience, self.most, self.idle = gate, patience, most, idle
        self.pipelines = {pipeline.detector.name: pipeline}
        self.default = pipeline.detector.name
        self.viewers: OrderedDict[str, Viewer] = OrderedDict()
        self.lock = threading.Lock()

    def detectors(self) -> tuple[str, ...]:
        """Return the detectors that a viewer may choose, the default one first."""
        return (self.default, *(name for name in ("hog",) if name != self.default))

    def pipeline(self, name: str) -> EmotionPipeline:
        """Return the pipeline with a detector, which is loaded when it is first asked for."""
        if name not in self.detectors():
            name = self.default
        with self.lock:
            if name not in self.pipelines:
                model = self.pipelines[self.default].model
                self.pipelines[name] = EmotionPipeline(model, load_detector(name))
            return self.pipelines[name]

    def viewer(self, token: str) -> Viewer:
        """Return a viewer by its token, new or known; forget those who are long gone."""
        now = time.monotonic()
        with self.lock:
            gone = [t for t, v in self.viewers.items() if now - v.seen > self.idle]
            for other in gone:
                del self.viewers[other]
            if token not in self.viewers:
                self.viewers[token] = Viewer(Stream(self.pipelines[self.default]))
            self.viewers.move_to_end(token)
            while len(self.viewers) > self.most:
                self.viewers.popitem(last=False)
            viewer = self.viewers[token]
            viewer.seen = now
            return viewer

    # --- what the page calls ---------------------------------------------------------------------

    def frame(self, data: Any) -> dict[str, Any]:
        """Read one frame.

        Args:
            data: an object with ``viewer`` (32 hexadecimal digits), ``at`` (seconds by the page's
                clock), ``jpeg`` (base64), and, if wished, ``label`` (whose evidence),
                ``smoothing`` (seconds), ``detector``.
        """
        return answered(self.read, data)

    def command(self, data: Any) -> dict[str, Any]:
        """Do what a button of the page asks for.

        Args:
            data: an object with ``viewer`` and ``name``: ``calibrate``, ``uncalibrate`` or
                ``forget``, which drops all that is known of the viewer.
        """
        return answered(self.obey, data)

    # --- how it is done --------------------------------------------------------------------------

    def read(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Answer :meth:`frame`; errors are raised."""
        viewer = self.viewer(token_of(data))
        at, smoothing = number(data, "at", 0.0), number(data, "smoothing", 0.15)
        jpeg = jpeg_of(data)
        # One frame of a viewer at a time: a page that sends more gets no more than its share.
        if not viewer.working.acquire(blocking=False):
            return BUSY
        try:
            with self.gate.turn(self.patience):
                began = time.perf_counter()
                image = decode(jpeg)
                decoded = 1e3 * (time.perf_counter() - began)
                stream = viewer.stream
                stream.pipeline = self.pipeline(str(data.get("detector") or self.default))
                stream.options = replace(StreamOptions(), smoothing=min(max(smoothing, 0), 2))
                result = stream(image, at)
                answer = stream_json(result, str(data.get("label") or "") or None)
                answer["stages"] = {"decode": round(decoded, 2), **answer["stages"]}
                answer["total"] = round(1e3 * (time.perf_counter() - began), 2)
                answer["detector"] = stream.pipeline.detector.name
                return answer
        except BusyError:
            return BUSY
        finally:
            viewer.working.release()

    def obey(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Answer :meth:`command`; errors are raised."""
        token, name = token_of(data), data.get("name")
        if name == "forget":
            with self.lock:
                self.viewers.pop(token, None)
            return {}
        viewer = self.viewer(token)
        with viewer.working:
            if name == "calibrate":
                viewer.stream.calibrate()
            elif name == "uncalibrate":
                viewer.stream.forget_calibration()
            else:
                raise ImageError(f"there is no command {str(name)[:40]!r}")
        return {}


def answered(work: Callable[[Mapping[str, Any]], dict[str, Any]], data: Any) -> dict[str, Any]:
    """Do the work; turn whatever goes wrong into words."""
    try:
        if not isinstance(data, Mapping):
            raise ImageError("expected one object")
        return work(data)
    except EmotionError as error:
        return {"error": f"This frame cannot be read: {error}."}
    except Exception:
        logger.exception("answering a live frame failed")
        return {"error": texts.BROKEN}


def token_of(data: Mapping[str, Any]) -> str:
    """Return who sends; ``ImageError`` for a token that no page of ours would make."""
    token = data.get("viewer")
    if not isinstance(token, str) or not TOKEN.fullmatch(token):
        raise ImageError("viewer must be 32 hexadecimal digits")
    return token


def number(data: Mapping[str, Any], name: str, default: float) -> float:
    """Return a finite number of the page's; ``ImageError`` for anything else."""
    value = data.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e12:
        raise ImageError(f"{name} must be a number")
    return float(value)


def jpeg_of(data: Mapping[str, Any]) -> bytes:
    """Return the bytes of the frame; ``ImageError`` if there are none, or too many."""
    text = data.get("jpeg")
    if not isinstance(text, str) or not text:
        raise ImageError("there is no picture in it")
    if len(text) > MAX_BYTES * 4 // 3 + 4:
        raise ImageError(f"it is larger than {MAX_BYTES // 1_000_000} MB")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ImageError("it is not base64") from None


def decode(jpeg: bytes) -> RGBImage:
    """Return a frame as an image; its size is looked at before it is unpacked.

    Raises:
        ImageError: not a JPEG, damaged, or larger than a frame of ours can be.
    """
    try:
        with Image.open(io.BytesIO(jpeg), formats=("JPEG",)) as header:
            longest = max(header.size)
    except Image.DecompressionBombError:
        raise ImageError("it says that it has far more pixels than a frame can have") from None
    except (UnidentifiedImageError, OSError):
        raise ImageError("it is not a JPEG") from None
    if longest > MAX_SIDE:
        raise ImageError(f"its longer side is {longest} pixels, more than {MAX_SIDE}")
    return load_image(jpeg)
