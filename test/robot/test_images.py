"""Camera messages: what is decoded, and what is refused with its reason."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from smolvla_ros.robot.images import MAX_PIXELS, ImageError, decode_image

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
        (SimpleNamespace(format="jpeg", data=b""), "no data"),
        (SimpleNamespace(format="jpeg", data=b"\xff\xd8 not a jpeg"), "cannot be decoded"),
    ],
)
def test_malformed_images_are_refused_with_the_reason(message, reason):
    with pytest.raises(ImageError, match=reason):
        decode_image(message)
