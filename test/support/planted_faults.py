"""Plants faults in a recorded session, as robots, cameras and clocks make them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np
from bag_events import Event, header, is_image, message
from simulated_session import START_NS


def plant(
    events: Collection[Event],
    *,
    compressed: bool = False,
    drop_topic: str | Collection[str] = (),
    swap_joints: tuple[str, str] | None = None,
    degrees: bool = False,
    dead_camera_after_s: float | None = None,
    frozen_camera: str | None = None,
    clock_shift_s: float = 0.0,
    zero_stamps: bool = False,
    no_overlap: bool = False,
    camera: str = "wrist",
    zeros_of_another: bool = False,
) -> list[Event]:
    """A recording with faults.

    Args:
        compressed: cameras as JPEG, on '<camera>/image_raw/compressed'.
        drop_topic: topics (full names) that are not there.
        swap_joints: two joints whose names stand for one another in the joint states.
        degrees: joint states in degrees.
        dead_camera_after_s: `camera` sends nothing later than this.
        frozen_camera: this camera sends its first picture again and again.
        clock_shift_s: added to the stamps of the cameras.
        zero_stamps: no header has a stamp.
        no_overlap: the cameras start when everything else is over.
        camera: the camera of `dead_camera_after_s`.
        zeros_of_another: a second publisher of joint states, which says that all joints are at 0.
    """
    dropped = {drop_topic} if isinstance(drop_topic, str) else set(drop_topic)
    kept = [event for event in events if event.topic not in dropped]
    if swap_joints:
        kept = [_with_names_swapped(event, *swap_joints) for event in kept]
    if degrees:
        kept = [_in_degrees(event) for event in kept]
    if dead_camera_after_s is not None:
        end_ns = START_NS + round(dead_camera_after_s * 1e9)
        kept = [event for event in kept if event.topic != f"/{camera}/image_raw" or event.log_ns <= end_ns]
    if frozen_camera:
        kept = _frozen(kept, f"/{frozen_camera}/image_raw")
    if clock_shift_s:
        kept = [_with_stamp_shifted(event, round(clock_shift_s * 1e9)) if is_image(event) else event for event in kept]
    if no_overlap:
        later_ns = max(event.log_ns for event in kept) - min(event.log_ns for event in kept) + 10**9
        kept = [_later(event, later_ns) if is_image(event) else event for event in kept]
    if zeros_of_another:
        kept += [_zeros(event) for event in kept if event.topic == "/joint_states"]
    if zero_stamps:
        kept = [_without_stamp(event) for event in kept]
    if compressed:
        kept = [_as_jpeg(event) if is_image(event) else event for event in kept]
    return sorted(kept, key=lambda event: event.log_ns)


# The faults, each a new event; the events of a scene are shared.


def _with_names_swapped(event: Event, one: str, other: str) -> Event:
    if event.topic != "/joint_states":
        return event
    swapped = {one: other, other: one}
    return replace(event, message=replace(event.message, name=[swapped.get(n, n) for n in event.message.name]))


def _in_degrees(event: Event) -> Event:
    if event.topic != "/joint_states":
        return event
    return replace(event, message=replace(event.message, position=np.degrees(event.message.position)))


def _frozen(events: list[Event], topic: str) -> list[Event]:
    first = next(event for event in events if event.topic == topic)
    return [
        replace(event, message=replace(event.message, data=first.message.data)) if event.topic == topic else event
        for event in events
    ]


def _with_stamp_shifted(event: Event, by_ns: int) -> Event:
    old = event.message.header
    moved = header(old.stamp.sec * 10**9 + old.stamp.nanosec + by_ns, old.frame_id)
    return replace(event, message=replace(event.message, header=moved))


def _later(event: Event, by_ns: int) -> Event:
    return replace(_with_stamp_shifted(event, by_ns), log_ns=event.log_ns + by_ns)


def _zeros(event: Event) -> Event:
    by_ns = 3_000_000
    return _later(replace(event, message=replace(event.message, position=np.zeros(len(event.message.name)))), by_ns)


def _without_stamp(event: Event) -> Event:
    if not hasattr(event.message, "header"):
        return event
    return replace(event, message=replace(event.message, header=header(0, event.message.header.frame_id)))


def _as_jpeg(event: Event) -> Event:
    import cv2

    raw = event.message
    picture = raw.data.reshape(raw.height, raw.width, 3)[:, :, ::-1]
    _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 95])
    content = message(
        "sensor_msgs/msg/CompressedImage", header=raw.header, format="rgb8; jpeg compressed bgr8", data=data.reshape(-1)
    )
    return Event(f"{event.topic}/compressed", event.log_ns, content)
