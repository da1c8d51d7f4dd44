"""Where YuNet's model file is, or how to get it once.

The file is not part of this project. It is taken, in this order, from a path the caller
gives, from the environment variable ``EMOTION_YUNET``, from the user's cache, or from the
OpenCV model zoo (230 kB, MIT), checked against a pinned sha256. Setting ``EMOTION_OFFLINE=1``
forbids the last.
"""

import hashlib
import logging
import os
import threading
import urllib.request
from http.client import HTTPException
from pathlib import Path

from emotion.errors import DetectorError

logger = logging.getLogger(__name__)

ZOO = "https://huggingface.co/opencv/face_detection_yunet/resolve/main/"
FILES = {
    "face_detection_yunet_2026may.onnx": (
        "ebafce4e3c118d6554634be5c27ab333b4c047a9a8c3faf1d7cf93101c22f0f0"
    ),
    "face_detection_yunet_2023mar.onnx": (
        "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
    ),
}
"""File name to sha256, the preferred one first. Source: github.com/opencv/opencv_zoo."""

TIMEOUT = 10.0
MAX_BYTES = 2_000_000

_lock = threading.Lock()
_refusals: dict[str, str] = {}
"""Sources that refused, with the reason: one process asks each only once."""


def cache_dir() -> Path:
    """Return the user's cache folder for this project (``XDG_CACHE_HOME`` is honoured)."""
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "emotion-lens"


def find_yunet(path: Path | None = None, *, source: str = ZOO) -> Path:
    """Return a YuNet file, downloading it if need be and allowed.

    Args:
        path: a file that the caller has.
        source: URL of the folder to download from; ends in a slash.

    Raises:
        DetectorError: there is none and none could be had; the message says why.
    """
    with _lock:
        return local_yunet(path) or download(source)


def local_yunet(path: Path | None = None) -> Path | None:
    """Return the YuNet file that is on this machine already, or None.

    Raises:
        DetectorError: the caller or ``EMOTION_YUNET`` names a file that is not there.
    """
    given = path or (Path(env) if (env := os.environ.get("EMOTION_YUNET")) else None)
    if given is not None:
        if not given.is_file():
            raise DetectorError(f"there is no YuNet file {given}")
        return given
    for name, digest in FILES.items():
        cached = cache_dir() / name
        if cached.is_file() and sha256(cached.read_bytes()) == digest:
            return cached
    return None


def download(source: str) -> Path:
    """Fetch the first file that ``source`` has into the cache."""
    if os.environ.get("EMOTION_OFFLINE"):
        raise DetectorError("EMOTION_OFFLINE is set and no YuNet file is in the cache")
    if source in _refusals:
        raise DetectorError(_refusals[source])
    reason = ""
    for name, digest in FILES.items():
        try:
            with urllib.request.urlopen(source + name, timeout=TIMEOUT) as reply:
                data = reply.read(MAX_BYTES)
        except (OSError, ValueError, HTTPException) as error:
            reason = f"YuNet could not be downloaded ({error})"
            continue
        if sha256(data) == digest:
            return store(name, data)
        reason = f"the YuNet file from {source} is not the pinned one (sha256)"
    _refusals[source] = reason
    raise DetectorError(reason)


def store(name: str, data: bytes) -> Path:
    """Write a downloaded file to the cache in one step."""
    target = cache_dir() / name
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_suffix(f".{os.getpid()}.partial")
        partial.write_bytes(data)
        partial.replace(target)
    except OSError as error:
        raise DetectorError(f"YuNet cannot be kept in {target.parent}: {error}") from None
    logger.info("YuNet was downloaded to %s", target)
    return target


def sha256(data: bytes) -> str:
    """Return the hex digest of some bytes."""
    return hashlib.sha256(data).hexdigest()
