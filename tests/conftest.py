"""What the tests share. Nothing here goes on the network, and nothing stays on the disk."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_cache = tempfile.TemporaryDirectory(prefix="emotion-tests-")
os.environ["EMOTION_OFFLINE"] = "1"
os.environ["XDG_CACHE_HOME"] = _cache.name
os.environ.pop("EMOTION_YUNET", None)
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

import cv2  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402

from benchmarks.fake_camera import FLAGS, HEIGHT, WIDTH, write_clip  # noqa: E402
from emotion.detect import HogDetector, YunetDetector, load_detector  # noqa: E402
from emotion.images import RGBImage, load_image  # noqa: E402
from emotion.model import EmotionModel, load_model  # noqa: E402
from emotion.pipeline import EmotionPipeline  # noqa: E402
from emotion.results import FloatArray  # noqa: E402

REPOSITORY = Path(__file__).resolve().parent.parent
torch.set_num_threads(2)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of files that tests may use and the project does not carry."""
    folder = REPOSITORY.parent / "shared"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there: it holds the data and models for this test")
    return folder


@pytest.fixture(scope="session")
def yunet_file(shared: Path) -> Path:
    """YuNet's model file."""
    path = shared / "models" / "face_detection_yunet_2026may.onnx"
    if not path.is_file():
        pytest.skip(f"{path} is not there: YuNet cannot be tested without it")
    return path


@pytest.fixture(scope="session")
def astronaut() -> RGBImage:
    """A photograph (512, 512, 3) of one happy face; read-only, so that no test can spoil it."""
    data = pytest.importorskip("skimage.data")
    image = np.array(data.astronaut())
    image.flags.writeable = False
    return image


@pytest.fixture(scope="session")
def face_box() -> FloatArray:
    """Where the astronaut's face is, roughly: x1, y1, x2, y2."""
    return np.array([180, 65, 270, 175], np.float32)


@pytest.fixture(scope="session")
def face_tile(astronaut: RGBImage) -> RGBImage:
    """The astronaut's face with some background, (200, 200, 3)."""
    return astronaut[20:220, 130:330]


@pytest.fixture(scope="session")
def model() -> EmotionModel:
    return load_model(device="cpu")


@pytest.fixture(scope="session")
def hog() -> HogDetector:
    return HogDetector()


@pytest.fixture(scope="session")
def yunet(yunet_file: Path) -> YunetDetector:
    detector = load_detector("yunet", yunet=yunet_file)
    assert isinstance(detector, YunetDetector)
    return detector


@pytest.fixture(scope="session")
def pipeline(model: EmotionModel, hog: HogDetector) -> EmotionPipeline:
    return EmotionPipeline(model, hog)


@pytest.fixture(scope="session")
def yunet_pipeline(model: EmotionModel, yunet: YunetDetector) -> EmotionPipeline:
    return EmotionPipeline(model, yunet)


def moving_drawing(count: int = 30) -> Iterator[RGBImage]:
    """Frames of a drawn face that moves from side to side."""
    face = cv2.resize(load_image(REPOSITORY / "emotion/examples/happiness.jpg"), (400, 400))
    for number in range(count):
        frame = np.full((HEIGHT, WIDTH, 3), 120, np.uint8)
        x = 120 + round(40 * np.sin(2 * np.pi * number / count))
        frame[40:440, x : x + 400] = face
        yield frame


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Chromium as the system has it, with a fake camera; one for all tests."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no chromium on this machine; apt-get install chromium")
    clip = write_clip(tmp_path_factory.mktemp("clip") / "face.y4m", moving_drawing())
    with playwright.sync_playwright() as session:
        flags = [*FLAGS, f"--use-file-for-fake-video-capture={clip}"]
        running = session.chromium.launch(executable_path=chromium, args=flags)
        yield running
        running.close()
