"""Anything that holds a picture, to (H, W, 3) uint8 RGB."""

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from emotion.errors import ImageError

MAX_PIXELS = 40_000_000
MAX_BYTES = 25_000_000

ImageSource = str | Path | bytes | Image.Image | NDArray[np.generic]
RGBImage = NDArray[np.uint8]


def load_image(source: ImageSource) -> RGBImage:
    """Read a picture from a path, encoded bytes, a PIL image or an array.

    The EXIF orientation is applied, transparency is laid on white, CMYK, palette, grey and
    16-bit pictures become RGB, of an animation the first frame is taken.

    Args:
        source: a path, the bytes of an encoded picture, a PIL image, or an array (H, W),
            (H, W, 1), (H, W, 3) or (H, W, 4) in RGB order: uint8, uint16, or floats in [0, 1].

    Returns:
        (H, W, 3) uint8 RGB, contiguous; never the caller's own memory.

    Raises:
        ImageError: unreadable, empty, over 40 megapixels or 25 MB, or not in the range above.
        TypeError: none of the kinds above.
    """
    if isinstance(source, np.ndarray):
        return from_array(source)
    if isinstance(source, Image.Image):
        with clear_errors():
            return from_pil(source)
    if isinstance(source, bytes):
        return decode(source)
    if isinstance(source, str | Path):
        return decode(read_bytes(Path(source)))
    raise TypeError(f"expected a path, bytes, a PIL image or an array, got {type(source).__name__}")


def read_bytes(path: Path) -> bytes:
    """Read a picture file that is not over the limit.

    Raises:
        ImageError: missing, a folder, too large or unreadable.
    """
    try:
        if path.is_dir():
            raise ImageError(f"{path} is a folder; give the pictures in it")
        if path.exists() and not path.is_file():
            raise ImageError(f"{path} is not a regular file")
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise ImageError(f"{path.name} has {size / 1e6:.0f} MB; at most {MAX_BYTES // 10**6}")
        return path.read_bytes()
    except FileNotFoundError:
        raise ImageError(f"there is no file {path}") from None
    except (OSError, ValueError) as error:
        raise ImageError(f"{path} cannot be read: {error}") from None


def decode(data: bytes) -> RGBImage:
    """Decode an encoded picture (JPEG, PNG, WebP, ...); see :func:`load_image`."""
    if not data:
        raise ImageError("the file is empty")
    if len(data) > MAX_BYTES:
        raise ImageError(f"the file has {len(data) / 1e6:.0f} MB; at most {MAX_BYTES // 10**6}")
    with clear_errors(), Image.open(io.BytesIO(data)) as image:
        return from_pil(image)


@contextlib.contextmanager
def clear_errors() -> Iterator[None]:
    """Turn whatever Pillow raises while it opens and decodes a picture into ``ImageError``."""
    try:
        yield
    except ImageError:
        raise
    except Image.DecompressionBombError:
        raise ImageError(f"the picture has more than {MAX_PIXELS // 10**6} megapixels") from None
    except UnidentifiedImageError:
        raise ImageError("this is not a picture in a format that can be read") from None
    except Exception as error:
        # Pillow's decoders raise whatever their parsing runs into: IndexError, RuntimeError, ...
        reason = str(error).splitlines()[0] if str(error) else "damaged"
        raise ImageError(f"the picture is damaged or cut off: {reason}") from None


def from_pil(image: Image.Image) -> RGBImage:
    """Convert a PIL image, checking its size before its pixels are decoded."""
    check_size(image.width, image.height)
    if getattr(image, "is_animated", False):
        image.seek(0)
    image = ImageOps.exif_transpose(image)
    if image.mode in ("F", "I") or image.mode.startswith("I;16"):
        return from_array(widen(np.asarray(image)))
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return np.array(image.convert("RGB"), np.uint8, order="C")


def widen(array: NDArray[np.generic]) -> NDArray[np.generic]:
    """Bring PIL's 32-bit modes, which carry 8 or 16 bits of grey, to uint16 or uint8."""
    if array.dtype.kind == "u":
        return array
    top = float(array.max(initial=0))
    if array.dtype.kind == "f" and not 1.0 < top < np.inf:
        return array
    return np.clip(array, 0, 65535).astype(np.uint16 if top > 255 else np.uint8)


def check_size(width: int, height: int) -> None:
    """Raise ``ImageError`` unless a picture has pixels, and not too many."""
    if width < 1 or height < 1:
        raise ImageError(f"the picture is empty ({width} x {height})")
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"the picture has {width} x {height} pixels; at most {MAX_PIXELS // 10**6} megapixels"
        )


def from_array(array: NDArray[np.generic]) -> RGBImage:
    """Convert an array of pixels; see :func:`load_image` for what is accepted."""
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        raise ImageError(f"expected an array (H, W), (H, W, 3) or (H, W, 4), got {array.shape}")
    check_size(array.shape[1], array.shape[0])
    pixels = to_uint8(array)
    if pixels.ndim == 2 or pixels.shape[2] == 1:
        pixels = np.repeat(pixels.reshape(*pixels.shape[:2], 1), 3, axis=2)
    if pixels.shape[2] == 4:
        return from_pil(Image.fromarray(np.ascontiguousarray(pixels)))
    return np.array(pixels, np.uint8, order="C")


def to_uint8(array: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Scale uint8, uint16 or float [0, 1] pixels to uint8.

    Raises:
        ImageError: another dtype, NaN, or floats outside [0, 1].
    """
    if array.dtype == np.uint8:
        return array.astype(np.uint8)
    if array.dtype.newbyteorder("=") == np.uint16:
        return (array.astype(np.float32) / 257.0).round().astype(np.uint8)
    if array.dtype.kind == "f":
        values = array.astype(np.float32)
        if not np.isfinite(values).all():
            raise ImageError("the array holds NaN or infinite values")
        if values.min() < 0 or values.max() > 1:
            raise ImageError("an array of floats must lie in [0, 1]; for 0 to 255 use uint8")
        return (values * 255.0).round().astype(np.uint8)
    raise ImageError(f"expected pixels of uint8, uint16 or float, got {array.dtype}")
