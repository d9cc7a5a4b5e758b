"""Messages in their serialized form: what every message that begins with a `std_msgs/Header` has at the same place.

The Common Data Representation of DDS is a header that tells version and byte order, then the fields, aligned to their
own size counted from the end of that header. (OMG CORBA 3.3, part 2, 9.3)
"""

from __future__ import annotations

import struct

from smolvla_ros.stamps import checked_ns

HEADER_BYTES = 4
LITTLE_ENDIAN = b"\x00\x01"
STAMP = struct.Struct("<iI")


def stamp_ns(data: bytes) -> int:
    """The stamp of a little-endian message in ns; negative: it is no time."""
    return checked_ns(*STAMP.unpack_from(data, HEADER_BYTES))
