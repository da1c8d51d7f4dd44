"""Every kind of picture comes out as RGB uint8, and every bad one as one clear line."""

import io
import os
import random
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from emotion.errors import ImageError
from emotion.images import MAX_BYTES, load_image

RED, WHITE = [255, 0, 0], [255, 255, 255]


def encode(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def gradient(height: int = 6, width: int = 9) -> np.ndarray:
    """A picture in which no two pixels agree and no flip or turn maps it to itself."""
    return np.arange(height * width * 3, dtype=np.uint8).reshape(height, width, 3)


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and has no pixels at all."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        crc = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def check_rgb(image: np.ndarray) -> None:
    assert image.dtype == np.uint8
    assert image.ndim == 3
    assert image.shape[2] == 3
    assert image.flags.c_contiguous
    assert image.flags.writeable


def test_every_kind_of_source_gives_the_same_pixels(tmp_path: Path) -> None:
    pixels = gradient()
    data = encode(Image.fromarray(pixels))
    path = tmp_path / "picture.png"
    path.write_bytes(data)
    for source in (pixels, data, path, str(path), Image.fromarray(pixels)):
        result = load_image(source)
        check_rgb(result)
        np.testing.assert_array_equal(result, pixels)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "BMP", "TIFF", "GIF", "PPM"])
def test_formats(kind: str) -> None:
    flat = np.full((20, 30, 3), (200, 100, 50), np.uint8)
    result = load_image(encode(Image.fromarray(flat), kind))
    check_rgb(result)
    assert result.shape == flat.shape
    assert np.abs(result.astype(int) - flat).max() < 8


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(orientation: int) -> None:
    pixels = gradient()
    # What a viewer must see for each value of the tag (TIFF 6.0, tag 274).
    upright = {
        1: pixels,
        2: pixels[:, ::-1],
        3: pixels[::-1, ::-1],
        4: pixels[::-1],
        5: pixels.swapaxes(0, 1),
        6: np.rot90(pixels, -1),
        7: pixels[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(pixels),
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    result = load_image(encode(Image.fromarray(pixels), exif=exif))
    np.testing.assert_array_equal(result, upright[orientation])


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_lies_on_white(mode: str) -> None:
    image = Image.new("RGBA", (2, 1), (0, 0, 0, 0))
    image.putpixel((1, 0), (0, 0, 0, 255))
    for source in (image.convert(mode), encode(image.convert(mode))):
        assert load_image(source).tolist() == [[WHITE, [0, 0, 0]]]


def test_half_transparency_is_mixed_with_white() -> None:
    image = Image.new("RGBA", (1, 1), (255, 0, 0, 128))
    assert load_image(image)[0, 0].tolist() == pytest.approx([255, 127, 127], abs=1)


def test_palette_with_and_without_transparency() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255] + [0] * 762)
    image.putpixel((1, 0), 1)
    assert load_image(encode(image)).tolist() == [[RED, [0, 0, 255]]]
    assert load_image(encode(image, transparency=1)).tolist() == [[RED, WHITE]]
    assert load_image(encode(image, transparency=bytes([255, 0]))).tolist() == [[RED, WHITE]]


def test_cmyk_becomes_rgb() -> None:
    image = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    result = load_image(encode(image, "JPEG"))
    assert np.abs(result.astype(int) - RED).max() < 12


@pytest.mark.parametrize(
    ("mode", "pixels"),
    [
        ("I;16", np.array([[0, 32896, 65535]], np.uint16)),
        ("I;16B", np.array([[0, 32896, 65535]], ">u2")),
        ("I", np.array([[0, 32896, 65535]], np.int32)),
        ("F", np.array([[0, 128 / 255, 1]], np.float32)),
        ("F", np.array([[0, 128, 255]], np.float32)),
        ("L", np.array([[0, 128, 255]], np.uint8)),
    ],
)
def test_grey_of_any_depth(mode: str, pixels: np.ndarray) -> None:
    image = Image.frombytes(mode, (3, 1), pixels.tobytes())
    for source in (image, encode(image, "TIFF")):
        assert load_image(source).tolist() == [[[0] * 3, [128] * 3, [255] * 3]]


def test_dark_16_bit_stays_dark_in_either_byte_order() -> None:
    for mode, kind in (("I;16", "<u2"), ("I;16B", ">u2")):
        image = Image.frombytes(mode, (1, 1), np.array([[200]], kind).tobytes())
        assert load_image(image).max() == 1


def test_one_bit() -> None:
    image = Image.new("1", (2, 1))
    image.putpixel((1, 0), 1)
    assert load_image(encode(image)).tolist() == [[[0] * 3, WHITE]]


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_first_frame_of_an_animation(kind: str) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue", "lime")]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encode(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert load_image(data)[8, 8].tolist() == RED
    opened = Image.open(io.BytesIO(data))
    opened.seek(2)
    assert load_image(opened)[8, 8].tolist() == RED


@pytest.mark.parametrize(
    "array",
    [
        np.full((4, 5), 51, np.uint8),
        np.full((4, 5, 1), 51, np.uint8),
        np.full((4, 5, 3), 51, np.uint8),
        np.full((4, 5, 4), [51, 51, 51, 255], np.uint8),
        np.full((4, 5, 3), 51 * 257, np.uint16),
        np.full((4, 5, 3), 51 * 257, ">u2"),
        np.full((4, 5, 3), 0.2, np.float16),
        np.full((4, 5, 3), 0.2, np.float32),
        np.full((4, 5), 0.2, np.float64),
    ],
)
def test_arrays(array: np.ndarray) -> None:
    result = load_image(array)
    check_rgb(result)
    np.testing.assert_array_equal(result, np.full((4, 5, 3), 51))


@pytest.mark.parametrize("channels", [3, 4])
def test_result_is_never_the_callers_memory(channels: int) -> None:
    array = np.full((4, 5, channels), 255, np.uint8)
    for source in (array, array[:, ::-1], Image.fromarray(array)):
        result = load_image(source)
        result[:] = 7
        assert not np.shares_memory(result, array)
        assert (array == 255).all()
        assert np.asarray(source).min() == 255


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.full((4, 4, 3), np.nan), "NaN"),
        (np.full((4, 4), np.inf), "infinite"),
        (np.full((4, 4, 3), 1.5), r"\[0, 1\]"),
        (np.full((4, 4, 3), -0.1), r"\[0, 1\]"),
        (np.zeros((4, 4, 3), np.int64), "int64"),
        (np.zeros((4, 4, 3), bool), "bool"),
        (np.zeros((4, 4, 3), complex), "complex"),
        (np.array([["a"]]), "got <U1"),
        (np.zeros(4, np.uint8), r"got \(4,\)"),
        (np.zeros((2, 4, 4, 3), np.uint8), "got"),
        (np.zeros((4, 4, 2), np.uint8), "got"),
        (np.zeros((0, 4, 3), np.uint8), "empty"),
        (np.zeros((4, 0), np.float32), "empty"),
    ],
)
def test_bad_arrays(array: np.ndarray, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        load_image(array)


def test_pil_picture_of_nan() -> None:
    with pytest.raises(ImageError, match="NaN"):
        load_image(Image.fromarray(np.full((4, 4), np.nan, np.float32)))


@pytest.mark.parametrize("source", [None, 3, [[1, 2]], bytearray(b"x"), object()])
def test_wrong_type_is_the_callers_mistake(source: object) -> None:
    with pytest.raises(TypeError, match=type(source).__name__):
        load_image(source)  # type: ignore[arg-type]


@pytest.mark.parametrize(("width", "height"), [(30_000, 30_000), (10_000, 9_500), (8_000, 5_001)])
def test_too_many_pixels_are_refused_by_the_header_alone(width: int, height: int) -> None:
    with warnings.catch_warnings():
        # Between its two own limits Pillow warns first; ours is below both.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with pytest.raises(ImageError, match="megapixels"):
            load_image(png_header(width, height))


def test_largest_size_is_let_through_to_the_decoder() -> None:
    with pytest.raises(ImageError, match="damaged"):  # the header is fine, the pixels are missing
        load_image(png_header(8_000, 5_000))


def test_array_of_too_many_pixels() -> None:
    # One byte, seen 900 million times.
    huge = np.broadcast_to(np.uint8(0), (30_000, 30_000, 3))
    with pytest.raises(ImageError, match="megapixels"):
        load_image(huge)


def test_too_many_bytes(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="25"):
        load_image(bytes(MAX_BYTES + 1))
    path = tmp_path / "large.png"
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(ImageError, match=r"large\.png has 25 MB"):
        load_image(path)


def test_one_pixel() -> None:
    assert load_image(encode(Image.new("RGB", (1, 1), "red"))).tolist() == [[RED]]


def test_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "empty.jpg"
    path.touch()
    for source in (path, b""):
        with pytest.raises(ImageError, match="empty"):
            load_image(source)


def test_text_named_jpg(tmp_path: Path) -> None:
    path = tmp_path / "notes.jpg"
    path.write_text("not a picture\n" * 50)
    with pytest.raises(ImageError, match="not a picture"):
        load_image(path)


def test_places_that_hold_no_picture(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="folder"):
        load_image(tmp_path)
    with pytest.raises(ImageError, match="there is no file"):
        load_image(tmp_path / "absent.png")
    with pytest.raises(ImageError):
        load_image("a\0b")
    # Reading a pipe would wait for ever.
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ImageError, match="not a regular file"):
        load_image(tmp_path / "pipe")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF"])
def test_truncated(kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (60, 60, 3), np.uint8)
    data = encode(Image.fromarray(noise), kind)
    with pytest.raises(ImageError, match=r"damaged|format"):
        load_image(data[: len(data) // 2])


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "ICO", "QOI"])
def test_damage_anywhere_is_an_image_error_or_still_a_picture(kind: str) -> None:
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 256, (32, 40, 3), np.uint8))
    animated = {"save_all": True, "append_images": [noise.rotate(90)]} if kind == "GIF" else {}
    data = encode(noise, kind, **animated)
    chance = random.Random(2)
    refusals = set()
    for _ in range(150):
        damaged = bytearray(data[: chance.choice([len(data), chance.randrange(1, len(data))])])
        for _ in range(chance.choice([1, 3, 10])):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                check_rgb(load_image(bytes(damaged)))
            except ImageError as error:
                refusals.add(str(error))
    assert refusals
    assert not any("\n" in refusal for refusal in refusals)


def test_a_lazily_opened_damaged_picture_is_an_image_error(tmp_path: Path) -> None:
    path = tmp_path / "cut.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:3000])
    with Image.open(path) as lazy, pytest.raises(ImageError, match="damaged or cut off"):
        load_image(lazy)
