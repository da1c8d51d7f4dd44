"""Emotion Lens: find faces, name the emotion each shows, and show which regions drove it.

from emotion import load_pipeline

result = load_pipeline()("photo.jpg")
for face in result.faces:
    print(face.sentence)
"""

from emotion.cam import CamExplainer
from emotion.classify import classify
from emotion.errors import EmotionError
from emotion.images import load_image
from emotion.model import load_model
from emotion.pipeline import EmotionPipeline, load_pipeline
from emotion.render import annotate, overlay
from emotion.results import FaceResult, ImageResult
from emotion.weights import available_models

__version__ = "0.2.0"

__all__ = [
    "CamExplainer",
    "EmotionError",
    "EmotionPipeline",
    "FaceResult",
    "ImageResult",
    "annotate",
    "available_models",
    "classify",
    "load_image",
    "load_model",
    "load_pipeline",
    "overlay",
]
