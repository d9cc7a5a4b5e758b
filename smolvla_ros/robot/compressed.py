"""What the first bytes of a JPEG or PNG say about the picture, read without decoding it.

JPEG: ITU-T T.81, annex B: segments of a marker 0xFF.., a length and a body; the size stands in a frame header (SOF).
PNG: W3C PNG, 11.2.2: the size stands in the first chunk, IHDR.
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

_PNG = b"\x89PNG\r\n\x1a\n"
_IHDR = struct.Struct(">I4sIIBB")
_CHUNK = struct.Struct(">I4s")
_CHUNK_BYTES = 12  # length, kind and check sum
_MAX_CHUNKS = 20_000
_JPEG = b"\xff\xd8\xff"
_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # all frame headers; the others define tables
_SOF_BODY = struct.Struct(">BHH")
_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})  # markers without a body
_SCAN, _END = b"\xff\xda", b"\xff\xd9"
# Every scan of a progressive JPEG goes through the whole picture: a small file of thousands would take minutes.
_MAX_SCANS = 32
_GREY = (0, 4)  # colour types of PNG without and with alpha


class CompressedHeader(NamedTuple):
    """Width and height in pixels; whether it is a PNG of one grey channel of 16 bits, as depth is stored."""

    width: int
    height: int
    sixteen_bit_grey: bool


def read_header(data: Any) -> CompressedHeader:
    """The header of a JPEG or PNG, out of any buffer of bytes; takes a tenth of a millisecond at most.

    Raises:
        ValueError: neither, or cut off; the text goes on after "the image".
    """
    content = memoryview(data).cast("B") if not isinstance(data, bytes) else memoryview(data)
    start = bytes(content[: len(_PNG)])
    if start == _PNG:
        return _png(content)
    if start.startswith(_JPEG):
        return _jpeg(content)
    raise ValueError(f"begins with {start!r}, expected JPEG or PNG")


def _png(content: memoryview) -> CompressedHeader:
    if len(content) < len(_PNG) + _IHDR.size:
        raise ValueError("is a PNG that is cut off")
    _, kind, width, height, depth, colours = _IHDR.unpack_from(content, len(_PNG))
    if kind != b"IHDR":
        raise ValueError("is a PNG without a header")
    _check_chunks(content)
    return CompressedHeader(width, height, depth == 16 and colours in _GREY)


def _check_chunks(content: memoryview) -> None:
    """A decoder believes a chunk's length, and allocates it, before it looks whether so many bytes are there."""
    at = len(_PNG)
    for _ in range(_MAX_CHUNKS):
        if at + _CHUNK_BYTES > len(content):
            raise ValueError("is a PNG that is cut off")
        length, kind = _CHUNK.unpack_from(content, at)
        at += _CHUNK_BYTES + length
        if at > len(content):
            raise ValueError("is a PNG that is cut off")
        if kind == b"acTL":
            raise ValueError("is an animated PNG, expected a single picture")
        if kind == b"IEND":
            return
    raise ValueError(f"is a PNG of more than {_MAX_CHUNKS} chunks")


def _jpeg(content: memoryview) -> CompressedHeader:
    at = 2
    while at + 4 <= len(content):
        if content[at] != 0xFF:
            raise ValueError("is a JPEG with damaged segments")
        marker = content[at + 1]
        if marker in _ALONE or marker == 0xFF:  # 0xFF may fill up
            at += 1 if marker == 0xFF else 2
            continue
        if marker == _SCAN[1]:
            raise ValueError("is a JPEG that tells no size before its picture")
        if marker in _SOF and at + 4 + _SOF_BODY.size <= len(content):
            _, height, width = _SOF_BODY.unpack_from(content, at + 4)
            _check_scans(bytes(content[at:]))
            return CompressedHeader(width, height, False)
        at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    raise ValueError("is a JPEG that is cut off")


def _check_scans(rest: bytes) -> None:
    """From the frame header on: a decoder makes up what is missing of a picture that is cut off, in plain grey."""
    scans = rest.count(_SCAN)
    if scans > _MAX_SCANS:
        raise ValueError(f"is a JPEG of {scans} scans, at most {_MAX_SCANS} are read")
    if not 0 <= rest.rfind(_SCAN) < rest.rfind(_END):
        raise ValueError("is a JPEG that is cut off")
