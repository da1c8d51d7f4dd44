"""A live stream: what one viewer's frames have in common, and nothing shared with another's.

A stream finds each face again from frame to frame, mostly by looking only where it was, smooths
its answers in time, and keeps the label steady. It keeps boxes, logits and thumbnails of faces in
view, no frame, and forgets a face seconds after it has left.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from emotion.boxes import overlap, settle
from emotion.detect import resize
from emotion.images import RGBImage
from emotion.pipeline import AlignedFace, EmotionPipeline, align_face
from emotion.results import Face, FaceResult, FloatArray, Prediction
from emotion.smooth import Smoother, rest_offset, softmax
from emotion.stopwatch import Stopwatch
from emotion.track import Track, assign, centre, side, thumbnail


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """How a stream is read.

    Attributes:
        smoothing: time constant in seconds of the average of the logits; 0 for each frame alone.
        full_every: seconds between searches of the whole frame; more often while a face is lost.
        forget: seconds after which a face that is gone is forgotten.
        max_faces: the largest so many are read.
        min_face: share of the frame's longer side that a face must have.
    """

    smoothing: float = 0.15
    full_every: float = 1.0
    forget: float = 2.0
    max_faces: int = 8
    min_face: float = 1 / 6

    def __post_init__(self) -> None:
        if not 0 <= self.smoothing <= 10 or not self.full_every >= 0 or not self.forget >= 0:
            raise ValueError("smoothing must be 0 to 10 seconds, full_every and forget 0 or more")
        if not 1 <= self.max_faces <= 32 or not 0 < self.min_face <= 1:
            raise ValueError("max_faces must be 1 to 32, min_face above 0 and at most 1")


@dataclass(frozen=True, slots=True, eq=False)
class TrackedFace:
    """One face of one frame, and who it is in the stream.

    Attributes:
        track: number of the face, from 1, the same as long as it stays in view.
        result: what this frame alone says; its evidence belongs to this frame.
        smoothed: the smoothed prediction, calibrated if the viewer has done so.
        label: the label on show, which does not flicker. answer: the words on show.
        calibrated: whether a resting face is subtracted.
    """

    track: int
    result: FaceResult
    smoothed: Prediction
    label: str
    answer: str
    calibrated: bool


@dataclass(frozen=True, slots=True, eq=False)
class StreamResult:
    """What is known about one frame of a stream.

    Attributes:
        width, height: of the frame, in pixels. at: its time, in seconds.
        faces: the largest first. whole: whether the whole frame was searched.
        stages: milliseconds by stage: detect, align, classify, evidence.
        calibrating: share of a calibration that is done, in [0, 1]; None when none is going on.
    """

    width: int
    height: int
    at: float
    faces: tuple[TrackedFace, ...]
    whole: bool
    stages: dict[str, float]
    calibrating: float | None


class Stream:
    """One viewer's stream. Its pipeline may be shared; the stream itself is for one thread.

    Args:
        pipeline: see :func:`emotion.load_pipeline`.
        options: may be replaced while the stream goes on.
    """

    around = 0.6
    """How far beyond a face is searched for it, in sides of its box, on each side."""
    retry = 0.15
    """Seconds between searches of the whole frame while a face is lost."""

    def __init__(self, pipeline: EmotionPipeline, options: StreamOptions | None = None) -> None:
        self.pipeline = pipeline
        self.options = options or StreamOptions()
        self.calibration: tuple[float, float] | None = None  # when it began, how long it takes
        self.reset()

    def reset(self) -> None:
        """Forget everything, as if the stream began now."""
        self.tracks: list[Track] = []
        self.size = (0, 0)
        self.at = -np.inf
        self.searched = -np.inf
        self.count = 0
        self.forget_calibration()

    def calibrate(self, seconds: float = 3.0) -> None:
        """Learn the resting faces in view during the next seconds, to subtract them afterwards.

        See :func:`emotion.smooth.rest_offset`.

        Raises:
            ValueError: not 0.5 to 30 seconds.
        """
        if not 0.5 <= seconds <= 30:
            raise ValueError(f"a calibration takes 0.5 to 30 seconds, got {seconds}")
        self.forget_calibration()
        self.calibration = (max(self.at, 0.0), seconds)
        for track in self.tracks:
            track.rest = (np.zeros_like(track.smoother.logits), 0)

    def forget_calibration(self) -> None:
        """Subtract nothing any more."""
        self.calibration = None
        for track in self.tracks:
            track.rest = track.offset = None

    def __call__(self, frame: RGBImage, at: float) -> StreamResult:
        """Read one frame.

        Args:
            frame: (H, W, 3) uint8 RGB, not kept.
            at: when it was taken, in seconds by any clock; a clock that goes back, or a frame of
                another shape, begins the stream anew; one of another size does not.
        """
        height, width = frame.shape[:2]
        if at < self.at:
            self.reset()
        self.resize(height, width)
        self.at = at
        self.tracks = [t for t in self.tracks if at - t.at <= self.options.forget]
        watch = Stopwatch()
        faces, whole = self.find(frame)
        watch.lap("detect")
        aligned = [align_face(frame, face) for face in faces]
        watch.lap("align")
        results = self.pipeline.read(aligned, watch)
        tracked = self.follow(aligned, results)
        return StreamResult(
            width=width,
            height=height,
            at=at,
            faces=tuple(tracked),
            whole=whole,
            stages=watch.stages,
            calibrating=self.progress(),
        )

    def resize(self, height: int, width: int) -> None:
        """Bring what is remembered to a frame's size; forget it where the shape differs."""
        before, self.size = self.size, (height, width)
        if before in ((0, 0), self.size):
            return
        if abs(before[0] * width - before[1] * height) > 0.02 * before[0] * width:
            self.reset()
            self.size = (height, width)
            return
        factor = np.float32(width / before[1])
        for track in self.tracks:
            track.box, track.velocity = track.box * factor, track.velocity * factor

    def find(self, frame: RGBImage) -> tuple[tuple[Face, ...], bool]:
        """Return the faces of a frame, and whether all of it was searched."""
        present = [t for t in self.tracks if self.at - t.at <= 2 * self.retry]
        since = self.at - self.searched
        waiting = since < (self.options.full_every if present else 0)
        if waiting:
            near = [face for track in present for face in self.look_near(frame, track)]
            faces = settle(near, frame.shape)
            lost = len(faces) < len(present) or len(present) < len(self.tracks)
            if not lost or since < self.retry:
                return faces[: self.options.max_faces], False
        self.searched = self.at
        smallest = max(10, round(max(frame.shape[:2]) * self.options.min_face))
        faces = self.pipeline.detector.detect(frame, min_face=smallest)
        return faces[: self.options.max_faces], True

    def look_near(self, frame: RGBImage, track: Track) -> list[Face]:
        """Search the part of a frame where a face should be."""
        box = track.expected(self.at)
        height, width = frame.shape[:2]
        (x, y), reach = centre(box), side(box) * (0.5 + self.around)
        left, top = (int(np.clip(v - reach, 0, m)) for v, m in ((x, width), (y, height)))
        right, bottom = (int(np.clip(v + reach, 0, m)) for v, m in ((x, width), (y, height)))
        if min(right - left, bottom - top) < 10:
            return []
        wanted = 64 if self.pipeline.detector.name == "yunet" else 100  # dlib needs 80
        scale = min(wanted / side(box), 4.0)
        part = resize(frame[top:bottom, left:right], scale)
        found = self.pipeline.detector.detect(part, min_face=int(0.8 * wanted))
        return [moved(face, scale, left, top) for face in found]

    def follow(
        self, aligned: Sequence[AlignedFace], results: Sequence[FaceResult]
    ) -> list[TrackedFace]:
        """Give each face its track, and update what is remembered of it."""
        boxes = [a.face.box for a in aligned]
        looks = [thumbnail(a.crop) for a in aligned]
        known = assign(self.tracks, boxes, looks, self.at)
        out = []
        for i, result in enumerate(results):
            track = known.get(i)
            if track is None:
                track = self.begin(boxes[i], looks[i], result.prediction)
            apart = all(overlap(boxes[i], b) < 0.05 for j, b in enumerate(boxes) if j != i)
            out.append(self.update(track, result, looks[i] if apart else None))
        return out

    def begin(self, box: FloatArray, look: FloatArray, now: Prediction) -> Track:
        """Start a track for a new face."""
        self.count += 1
        track = Track(self.count, box, self.at, look, Smoother.start(now, self.at))
        if self.calibration:
            track.rest = (np.zeros_like(now.logits), 0)
        self.tracks.append(track)
        return track

    def update(self, track: Track, result: FaceResult, look: FloatArray | None) -> TrackedFace:
        """Take one frame's answer into a track."""
        track.move(result.face.box, look, self.at)
        now = result.prediction
        self.learn_rest(track, now)
        if track.offset is not None:
            logits = now.logits - track.offset
            now = replace(now, logits=logits, probabilities=softmax(logits))
        smoothed = track.smoother.update(now, self.at, self.options.smoothing)
        return TrackedFace(
            track=track.number,
            result=result,
            smoothed=smoothed,
            label=track.smoother.shown,
            answer=track.smoother.answer,
            calibrated=track.offset is not None,
        )

    def learn_rest(self, track: Track, now: Prediction) -> None:
        """Add a frame to the resting face while a calibration goes on; apply it at the end."""
        if track.rest is None:
            return
        total, frames = track.rest
        if self.progress() is not None:
            track.rest = (total + now.logits, frames + 1)
            return
        if frames:
            track.offset = rest_offset(total / np.float32(frames), now.labels)
        track.rest = None

    def progress(self) -> float | None:
        """Return which share of a calibration is done; None if none is going on."""
        if self.calibration is None:
            return None
        began, seconds = self.calibration
        share = (self.at - began) / seconds
        return share if share < 1 else None


def moved(face: Face, scale: float, left: int, top: int) -> Face:
    """Return a face that was found in a part of a frame where it is in the whole frame."""
    corner = np.array([left, top], np.float32)
    landmarks = face.landmarks
    return Face(
        box=(face.box / np.float32(scale) + np.tile(corner, 2)).astype(np.float32),
        score=face.score,
        landmarks=None if landmarks is None else (landmarks / np.float32(scale) + corner),
    )
