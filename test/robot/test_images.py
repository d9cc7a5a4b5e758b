"""Camera messages: what is decoded, and what is refused with its reason."""

import array
import struct
import zlib
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smolvla_ros.robot.compressed import read_header
from smolvla_ros.robot.images import BYTES_PER_PIXEL, MAX_PIXELS, ImageError, check_image, decode_image, greyed

HEIGHT, WIDTH = 4, 6
RGB = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def image(encoding="rgb8", pixels=RGB, padding=0, is_bigendian=0):
    rows = np.ascontiguousarray(pixels).view(np.uint8).reshape(pixels.shape[0], -1)
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=99)
    return SimpleNamespace(
        height=pixels.shape[0],
        width=pixels.shape[1],
        encoding=encoding,
        is_bigendian=is_bigendian,
        step=rows.shape[1],
        data=rows.tobytes(),
    )


@pytest.mark.parametrize("padding", [0, 1, 64])
@pytest.mark.parametrize(
    "encoding, pixels",
    [
        ("rgb8", RGB),
        ("bgr8", RGB[:, :, ::-1]),
        ("rgba8", np.dstack([RGB, np.full((HEIGHT, WIDTH), 7, np.uint8)])),
        ("bgra8", np.dstack([RGB[:, :, ::-1], np.full((HEIGHT, WIDTH), 7, np.uint8)])),
    ],
)
def test_colour_encodings_give_the_same_rgb_whatever_the_row_padding(encoding, pixels, padding):
    np.testing.assert_array_equal(decode_image(image(encoding, pixels, padding)), RGB)


@pytest.mark.parametrize("is_bigendian", [0, 1])
def test_sixteen_bit_images_respect_the_byte_order(is_bigendian):
    wide = RGB.astype(np.uint16) * 257
    message = image("rgb16", wide.byteswap() if is_bigendian else wide, is_bigendian=is_bigendian)
    np.testing.assert_allclose(decode_image(message).astype(int), RGB.astype(int), atol=1)


def test_grey_images_become_three_equal_channels():
    grey = decode_image(image("mono8", RGB[:, :, 0]))
    np.testing.assert_array_equal(grey, np.dstack([RGB[:, :, 0]] * 3))


@pytest.mark.parametrize("encoding", ["bayer_rggb8", "bayer_bggr8", "bayer_gbrg8", "bayer_grbg8"])
def test_bayer_images_keep_a_flat_red_field_red(encoding):
    colours = encoding.removeprefix("bayer_").removesuffix("8")
    cell = np.array([255 if colour == "r" else 0 for colour in colours], dtype=np.uint8).reshape(2, 2)
    centre = decode_image(image(encoding, np.tile(cell, (6, 6))))[4:8, 4:8]
    assert (centre[:, :, 0] == 255).all() and (centre[:, :, 1:] == 0).all()


@pytest.mark.parametrize("encoding, order", [("yuv422", "uyvy"), ("yuv422_yuy2", "yuyv")])
def test_yuv_images_keep_a_flat_red_field_red(encoding, order):
    values = {"y": 82, "u": 90, "v": 240}
    pair = [values[channel] for channel in order]
    pixels = np.tile(np.array(pair, dtype=np.uint8).reshape(1, 2, 2), (4, 3, 1))
    rgb = decode_image(image(encoding, pixels))
    assert (rgb[:, :, 0] > 240).all() and (rgb[:, :, 1:] < 15).all()


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_compressed_images_are_decoded_to_rgb(suffix):
    flat = np.full((16, 16, 3), (200, 100, 50), dtype=np.uint8)
    data = cv2.imencode(suffix, flat[:, :, ::-1])[1].tobytes()
    decoded = decode_image(SimpleNamespace(format=suffix, data=data))
    np.testing.assert_allclose(decoded.astype(int), flat.astype(int), atol=4)


def test_a_decoded_image_does_not_alias_the_message():
    message = image()
    message.data = bytearray(message.data)
    decoded = decode_image(message)
    message.data[0] ^= 255
    np.testing.assert_array_equal(decoded, RGB)


def changed(**fields):
    message = image()
    for name, value in fields.items():
        setattr(message, name, value)
    return message


@pytest.mark.parametrize(
    "message, reason",
    [
        (changed(encoding="16UC1"), "encoding is '16UC1'"),
        (changed(encoding=""), "encoding is ''"),
        (changed(encoding="rgb8; rm -rf"), "encoding is"),
        (changed(height=0, data=b""), "size is 6x0"),
        (changed(width=0), "size is 0x4"),
        (changed(step=0), "step is 0"),
        (changed(step=WIDTH * 3 - 1), "step is 17, expected at least 18"),
        (changed(data=image().data[:-1]), "data has 71 bytes, expected step \\* height = 72"),
        (changed(data=image().data + b"x"), "data has 73 bytes"),
        (changed(data=b""), "data has 0 bytes"),
        (changed(width=5000, height=4000, step=15000), f"expected 1 to {MAX_PIXELS} pixels"),
        (changed(width=5, step=10, height=4, encoding="yuyv", data=b"x" * 40), "width is 5, expected an even number"),
        (changed(width=1, step=1, height=8, encoding="bayer_rggb8", data=b"x" * 8), "size is 1x8, expected 4x4"),
        (changed(width=330, step=990, height=10, data=b"x" * 9900), "expected at most 32 times"),
        (changed(encoding="e" * 100_000), r"encoding is 'eeee[^ ]{,100}', expected"),
        (SimpleNamespace(format="jpeg", data=b""), "no data"),
        (SimpleNamespace(format="jpeg", data=b"\xff\xd8 not a jpeg"), "expected JPEG or PNG"),
        (SimpleNamespace(format="tiff", data=b"II*\0 a TIFF"), "format 'tiff' begins with b'II"),
        (SimpleNamespace(format="x" * 100_000, data=b"?"), r"format 'xxxx[^ ]{,100}' begins with"),
    ],
)
def test_malformed_images_are_refused_with_the_reason(message, reason):
    with pytest.raises(ImageError, match=reason):
        decode_image(message)


@settings(deadline=None)
@given(
    st.sampled_from(sorted(BYTES_PER_PIXEL)), st.integers(0, 9), st.integers(0, 9), st.integers(0, 40),
    st.integers(0, 255), st.integers(-3, 3),
)  # fmt: skip
def test_whatever_a_raw_image_says_of_itself_it_is_refused_when_it_arrives_or_becomes_a_picture(
    encoding, width, height, step, is_bigendian, surplus
):
    message = SimpleNamespace(
        height=height, width=width, encoding=encoding, is_bigendian=is_bigendian, step=step,
        data=array.array("B", b"x" * max(0, step * height + surplus)),
    )  # fmt: skip
    try:
        check_image(message)
    except ImageError:
        return
    assert decode_image(message).shape == (height, width, 3)


PHOTO = cv2.resize(RGB, (160, 120))


def encoded(suffix, pixels=PHOTO, *parameters):
    return cv2.imencode(suffix, pixels, parameters)[1].tobytes()


def compressed(data, form="jpeg"):
    return SimpleNamespace(format=form, data=array.array("B", data))


JPEG, PROGRESSIVE, PNG = encoded(".jpg"), encoded(".jpg", PHOTO, cv2.IMWRITE_JPEG_PROGRESSIVE, 1), encoded(".png")


@pytest.mark.parametrize("data", [JPEG, PROGRESSIVE, PNG])
def test_the_size_of_a_compressed_image_is_read_without_decoding_it(data):
    assert read_header(data)[:2] == (160, 120)


@settings(deadline=None)
@given(st.sampled_from([JPEG, PROGRESSIVE, PNG]), st.data())
def test_a_compressed_image_that_is_cut_off_anywhere_is_refused_when_it_arrives(data, draw):
    with pytest.raises(ImageError):
        check_image(compressed(data[: draw.draw(st.integers(0, len(data) - 2))]))


@settings(deadline=None)
@given(
    st.sampled_from([JPEG, PROGRESSIVE, PNG]),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=5),
)
def test_damaged_bytes_are_an_image_error_or_a_picture_and_nothing_else(data, changes):
    damaged = bytearray(data)
    for place, value in changes:
        damaged[place] = value
    try:
        decode_image(compressed(damaged))
    except ImageError:
        return


def chunk(kind, body, length=None):
    return (
        struct.pack(">I", len(body) if length is None else length)
        + kind
        + body
        + struct.pack(">I", zlib.crc32(kind + body))
    )


def png(width, height, *chunks, depth=8, colours=2):
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colours, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + chunk(b"IEND", b"")


def scans(count):
    end = JPEG.rindex(b"\xff\xd9")
    return JPEG[:end] + b"\xff\xda\x00\x02" * count + JPEG[end:]


@pytest.mark.parametrize(
    "data, reason",
    [
        (png(25_000, 25_000, chunk(b"IDAT", b"")), "size is 25000x25000"),
        (png(2**31, 2**31, chunk(b"IDAT", b"")), "size is 2147483648x2147483648"),
        (png(0, 5, chunk(b"IDAT", b"")), "size is 0x5"),
        (png(8, 8, chunk(b"IDAT", b"", length=0x68002000)), "cut off"),  # OpenCV would allocate as many bytes
        (png(8, 8, *[chunk(b"tEXt", b"")] * 20_001), "more than 20000 chunks"),
        (png(8, 8, chunk(b"acTL", b"\0" * 8)), "animated"),
        (scans(40), "41 scans, at most 32"),
        (JPEG[:2] + b"\xff\xe0\xff\xff" + JPEG[2:], "JPEG"),
    ],
)
def test_a_file_that_would_take_gigabytes_or_minutes_is_refused_by_its_header(data, reason):
    with pytest.raises(ImageError, match=reason):
        check_image(compressed(data))


DEPTH, WIDE = np.full((8, 8), 3000, np.uint16), np.full((8, 8, 3), 200 * 257, np.uint16)


@pytest.mark.parametrize(
    "form, pixels, reason",
    [
        ("16UC1; png compressed", DEPTH, "'16UC1; png compressed': depth or raw values"),
        ("32FC1; jpeg compressed", np.zeros((8, 8), np.uint8), "depth or raw values"),
        ("16UC1; compressedDepth png", DEPTH, "depth or raw values"),
        ("png", DEPTH, "grey PNG of 16 bits"),
        ("", DEPTH, "grey PNG of 16 bits"),
        ("png", WIDE, ""),
        ("bgr16; png compressed bgr16", WIDE, ""),
        ("png", np.full((8, 8), 200, np.uint8), ""),
        ("mono16; png compressed", np.full((8, 8), 200 * 257, np.uint16), ""),
    ],
)
def test_depth_is_refused_by_name_and_colour_or_grey_of_any_depth_is_taken(form, pixels, reason):
    message = compressed(encoded(".png", pixels), form)
    if reason:
        with pytest.raises(ImageError, match=reason):
            check_image(message)
    else:
        assert (decode_image(message) == 200).all()


def test_a_grey_jpeg_is_a_picture():
    assert decode_image(compressed(encoded(".jpg", np.full((16, 16), 90, np.uint8)))).shape == (16, 16, 3)


@pytest.mark.parametrize(
    "form, so",
    [
        ("bgr8; jpeg compressed mono8", True),
        ("bayer_rggb8; jpeg compressed mono8", True),
        ("jpeg compressed mono8", True),
        ("mono8; jpeg compressed mono8", False),
        ("bgr8; jpeg compressed bgr8", False),
        ("jpeg", False),
    ],
)
def test_a_colour_picture_that_was_made_grey_on_its_way_is_told_by_its_format(form, so):
    assert greyed(compressed(JPEG, form)) == so
