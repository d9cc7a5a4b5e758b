"""Cameras that show nothing, or always the same, or no colours, or what another one should show."""

from __future__ import annotations

import numpy as np

from smolvla_ros.bags.replay.result import BagFinding, Replay

from ..replay.facts import CameraFacts, Facts

_DARK = 10.0  # grey value, of 255
_FLAT = 3.0  # standard deviation of the grey values
_MOST = 0.9  # of the pictures
_FROZEN_MOTION = 0.2  # rad that a joint moves while a picture stays the same


def camera_findings(replay: Replay) -> list[BagFinding]:
    """What is wrong with each camera, and with cameras that are exchanged."""
    findings = []
    for name, camera in replay.facts.cameras.items():
        findings += _blank(replay, name, camera) or _frozen(replay.facts, name, camera)
        findings += _greyed(name, camera)
    return findings + _swapped(replay)


def _blank(replay: Replay, name: str, camera: CameraFacts) -> list[BagFinding]:
    pictures = camera.pictures.values
    if len(pictures) < 2:
        return []
    flat = np.array([picture.std < _FLAT for picture in pictures])
    dark = np.array([picture.mean < _DARK for picture in pictures]) & flat
    for is_so, kind, look in (
        (dark, "black", "a lens cap, no light, no exposure?"),
        (flat & ~dark, "blank", "one colour all over, as a driver without a sensor sends it?"),
    ):
        first = int(np.argmax(is_so))
        if not is_so.any() or is_so[first:].mean() < _MOST or (is_so.sum() < 3 and not is_so.all()):
            continue
        since = "all the time"
        if first:
            since = f"from {(camera.pictures.times_ns[first] - replay.facts.start_ns) / 1e9:.1f} s on"
        brightness = np.mean([picture.mean for picture, so in zip(pictures, is_so, strict=True) if so])
        text = (
            f"Camera {name} is {kind} {since}: mean grey value {brightness:.1f} of 255, spread below {_FLAT:g}. "
            f"Look at it with rqt_image_view: {look}"
        )
        return [BagFinding(f"{kind}_camera", "error", text)]
    return []


def _frozen(facts: Facts, name: str, camera: CameraFacts) -> list[BagFinding]:
    """A picture that stays the same to the last bit while the arm moves; a simulated one at rest may do so."""
    if not len(facts.positions):
        return []
    times_ns, rows = facts.positions.times_ns, facts.positions.rows(len(facts.positions.values[0]))
    worst: tuple[int, int, float] | None = None
    for length_ns, start_ns in camera.frozen:
        during = rows[(times_ns >= start_ns) & (times_ns <= start_ns + length_ns)]
        motion = float(np.ptp(during, axis=0).max()) if len(during) else 0.0
        if motion > _FROZEN_MOTION and (worst is None or length_ns > worst[0]):
            worst = length_ns, start_ns, motion
    if worst is None:
        return []
    length_ns, start_ns, motion = worst
    text = (
        f"Camera {name} is frozen: from {(start_ns - facts.start_ns) / 1e9:.1f} s on it repeats one image for "
        f"{length_ns / 1e9:.1f} s, to the last bit, while the arm moves by {motion:.2f} rad. Look at the driver; the "
        "policy node refuses this with 'frozen_camera_frames'."
    )
    return [BagFinding("frozen_camera", "error", text)]


def _greyed(name: str, camera: CameraFacts) -> list[BagFinding]:
    if not camera.greyed:
        return []
    text = (
        f"Camera {name} takes colour pictures that were made grey when they were compressed ('{camera.greyed}'). "
        "Unless the policy was trained with grey ones, set the format of its image transport."
    )
    return [BagFinding("grey_camera", "warning", text)]


def _swapped(replay: Replay) -> list[BagFinding]:
    """Told by names only: each of two cameras reads a topic named after the other."""
    topics = {camera.name: _words(camera.topic) for camera in replay.robot.cameras}
    for activity in replay.facts.streams.values():
        if activity.name.startswith("camera ") and (name := activity.name.removeprefix("camera ")) in topics:
            topics[name] = _words(activity.topic)
    features = {camera.name: _words(camera.feature.replace(".", "/")) for camera in replay.robot.cameras}
    names = list(topics)
    for place, one in enumerate(names):
        for other in names[place + 1 :]:
            for own in ({one: {one}, other: {other}}, features):
                words = {name: own[name] - own[rival] for name, rival in ((one, other), (other, one))}
                crossed = topics[one] & words[other] and topics[other] & words[one]
                if crossed and not topics[one] & words[one] and not topics[other] & words[other]:
                    text = (
                        f"Cameras {one} and {other} seem to be exchanged: {one} reads a topic named after {other} "
                        "and the reverse. Compare the pictures below with their names; mend 'camera.<camera>.topic' "
                        "and '.feature' in the robot config, or --remap."
                    )
                    return [BagFinding("swapped_cameras", "warning", text)]
    return []


def _words(name: str) -> set[str]:
    return set(name.lower().replace("_", "/").split("/")) - {""}
