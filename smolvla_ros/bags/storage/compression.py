"""Decompression of damaged data too: never more bytes than announced, and never more than a block may have."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import lz4.frame
import zstandard

from .blocks import MAX_BLOCK_BYTES

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"

_COPY_BYTES = 2**20
_KEEP_FREE_BYTES = 2**28  # of the disk that takes decompressed files


class DamageError(Exception):
    """Data that contradict themselves; the text says how. Never leaves the package `storage`."""


def decompress(data: bytes | memoryview, compression: str, size: int) -> bytes | memoryview:
    """Decompresses a chunk of an mcap file to `size` bytes.

    Raises:
        DamageError: it does not give that many bytes, or the compression is not known.
    """
    if size > MAX_BLOCK_BYTES:
        raise DamageError(f"it claims to hold {size} bytes")
    try:
        if compression == "":
            result = data
        elif compression == "zstd":
            result = _zstd(data, size)
        elif compression == "lz4":
            result = _lz4(data, size)
        else:
            raise DamageError(f"its compression is {compression!r}, expected zstd, lz4 or none")
    except (zstandard.ZstdError, RuntimeError, EOFError) as error:  # lz4 raises the last two
        raise DamageError(f"it cannot be decompressed ({error})") from error
    if len(result) != size:
        raise DamageError(f"it holds {len(result)} bytes where {size} are announced")
    return result


def decompress_message(data: bytes) -> bytes:
    """Decompresses a message that was compressed on its own with zstd.

    Raises:
        DamageError: it cannot be decompressed.
    """
    try:
        size = zstandard.frame_content_size(data)
        if not 0 <= size <= MAX_BLOCK_BYTES:
            raise DamageError(f"it claims to hold {size} bytes")
        return _zstd(data, size)
    except zstandard.ZstdError as error:
        raise DamageError(f"it cannot be decompressed ({error})") from error


def decompress_file(source: BinaryIO, target: Path) -> str:
    """Decompresses a zstd file as far as it goes; returns what kept it from going to the end, '' for nothing."""
    with target.open("wb") as sink, zstandard.ZstdDecompressor().stream_reader(source) as stream:
        while True:
            if shutil.disk_usage(target.parent).free < _KEEP_FREE_BYTES:
                return f"no room is left in {target.parent} (another folder: environment variable TMPDIR)"
            try:
                part = stream.read(_COPY_BYTES)
            except zstandard.ZstdError as error:
                return str(error)
            if not part:
                return ""
            sink.write(part)


def _zstd(data: bytes | memoryview, size: int) -> bytes:
    announced = zstandard.frame_content_size(data)
    if announced == size:
        return zstandard.ZstdDecompressor().decompress(data, max_output_size=size)
    if announced != -1:
        raise DamageError(f"it holds {announced} bytes where {size} are announced")
    return _joined(zstandard.ZstdDecompressor().read_to_iter(data), size)


def _lz4(data: bytes | memoryview, size: int) -> bytes:
    decompressor = lz4.frame.LZ4FrameDecompressor()

    def parts() -> Iterator[bytes]:
        yield decompressor.decompress(bytes(data), max_length=_COPY_BYTES)
        while not decompressor.eof and not decompressor.needs_input:
            yield decompressor.decompress(b"", max_length=_COPY_BYTES)

    return _joined(parts(), size)


def _joined(parts: Iterator[bytes], size: int) -> bytes:
    """All parts, but no more than one beyond `size` bytes."""
    joined = bytearray()
    for part in parts:
        joined += part
        if len(joined) > size:
            break
    return bytes(joined)
