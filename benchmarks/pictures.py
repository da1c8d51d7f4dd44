"""Small training faces as pictures in which a detector can find them."""

import cv2
import numpy as np

from emotion.images import RGBImage
from emotion.preprocess import Crop

SIDE = 192


def in_picture(crop: Crop, margin: int) -> RGBImage:
    """Enlarge a grey crop to 192 px and set it into a picture whose edge continues the crop's."""
    big = cv2.resize(crop, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    framed = cv2.copyMakeBorder(big, *[margin] * 4, cv2.BORDER_REPLICATE)
    return np.asarray(cv2.cvtColor(framed, cv2.COLOR_GRAY2RGB), np.uint8)
