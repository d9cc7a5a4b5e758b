"""Bags that somebody broke on purpose or by accident, and what every tool makes of them, told as JSON lines.

Run in a process of its own, so that a tool that hangs or eats all memory ends with it:
`python hostile_bags.py FIRST_SEED COUNT FOLDER`. The line of the honest bag comes first.
"""

from __future__ import annotations

import contextlib
import io
import json
import random
import shutil
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from replaying import FakePolicy
from simulated_bag import Event, Scene, message, recorded_events, types, write_bag

from smolvla_ros.bags.errors import BagError
from smolvla_ros.bags.playback import recorded_offers
from smolvla_ros.bags.reader import open_bag
from smolvla_ros.bringup.options import BringUpError, ReplayOptions
from smolvla_ros.bringup.replay import plan_replay
from smolvla_ros.cli.main import main
from smolvla_ros.policy import setup

SCENE = Scene(seconds=1.0, picture_size=(24, 24))
TEXTS = ("/instruction", "/policy_node/description", "/controller_node/description")
HUGE = (2**31 - 1, 2**32 - 1, 2**40, 2**63 - 1, 2**64 - 1)
WRONG: tuple[Any, ...] = (None, True, -1, 0, 10**18, 10**30, 1e308, float("nan"), "", "\0", "x" * 10_000, "9" * 5000,
                          [], [[]], [None] * 100, {}, {"a": {"b": []}}, list(range(10_000)))  # fmt: skip


# What the files say.


def cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data))]


def flip(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 3, 20, 200))):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def claim(data: bytes, rng: random.Random) -> bytes:
    """Some numbers become huge: they may be counts, lengths or times."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 3, 10))):
        number = rng.choice(HUGE)
        size = 4 if number < 2**32 else 8
        place = rng.randrange(max(1, len(changed) - size)) & ~3
        changed[place : place + size] = number.to_bytes(size, rng.choice(("little", "big")))
    return bytes(changed)


def repeat(data: bytes, rng: random.Random) -> bytes:
    """A part lies there twice, or is zeros."""
    first = rng.randrange(len(data))
    part = data[first : first + rng.randrange(1, 5000)]
    return data[:first] + rng.choice((part * 2, bytes(len(part)))) + data[first + len(part) :]


BYTES = (cut, flip, claim, repeat)


def broken_file(folder: Path, rng: random.Random) -> str:
    write_bag(folder, recorded_events(SCENE), rng.choice(("mcap", "sqlite3")), rng.choice((None, "file", "message")))
    file = rng.choice([file for file in sorted(folder.iterdir()) if file.name != "metadata.yaml"])
    mutate = rng.choice(BYTES)
    file.write_bytes(mutate(file.read_bytes(), rng))
    return f"{mutate.__name__} {file.name}"


# What metadata.yaml says.


def broken_metadata(folder: Path, rng: random.Random) -> str:
    write_bag(folder, recorded_events(SCENE), rng.choice(("mcap", "sqlite3")))
    file = folder / "metadata.yaml"
    text = file.read_text()
    kind = rng.choice(("bytes", "types", "anchors", "tags", "large"))
    if kind == "bytes":
        file.write_bytes(rng.choice(BYTES)(text.encode(), rng))
    elif kind == "types":
        file.write_text(yaml.safe_dump(with_wrong_values(yaml.safe_load(text), rng, rng.choice((1, 3)))))
    elif kind == "anchors":
        file.write_text(anchors(rng.choice(("files", "topics", "beside"))))
    elif kind == "tags":
        tag = rng.choice(("!!int ''", "!!bool 3", "!!timestamp a", "!!float _", "2001-99-99", "!!omap 3", "!!set [1]",
                          "9" * 5000, ":".join(["59"] * 5000), "0x" + "f" * 9000))  # fmt: skip
        file.write_text(text.replace("message_count: ", f"message_count: {tag} # ", rng.choice((1, -1))))
    else:
        file.write_text(text + rng.choice(("[" * 10**6, "- " * 10**6, "a: [" + "x, " * 10**6 + "]", "# " * 10**7)))
    return f"metadata.yaml, {kind}"


def anchors(place: str) -> str:
    """A few hundred bytes that become 10^9 values for whoever follows them."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join(f'*a{n - 1}' for _ in range(10))}]" for n in range(1, 9)]
    files = "*a8" if place == "files" else "[bag.mcap]"
    topics = "*a8" if place == "topics" else "[]"
    told = f"relative_file_paths: {files}, topics_with_message_count: {topics}"
    return "\n".join([*lines, f"rosbag2_bagfile_information: {{{told}}}", ""])


def with_wrong_values(content: Any, rng: random.Random, count: int) -> Any:
    places = list(leaves(content))
    for _ in range(count):
        holder, key = rng.choice(places)
        holder[key] = rng.choice(WRONG)
    return content


def leaves(content: Any) -> Any:
    """(container, key) of every value in it."""
    for key in list(content) if isinstance(content, dict) else range(len(content) if isinstance(content, list) else 0):
        yield content, key
        yield from leaves(content[key])


# What the messages say; the file is sound.


def broken_messages(folder: Path, rng: random.Random) -> str:
    chosen = rng.choice(sorted({event.topic for event in recorded_events(SCENE)}))
    changes = [_other_bytes, _other_type, _other_fields]
    change = rng.choice([*changes, _other_text] if chosen in TEXTS else changes)
    events = [change(event, rng) if event.topic == chosen else event for event in recorded_events(SCENE)]
    write_bag(folder, events, rng.choice(("mcap", "sqlite3")))
    return f"{change.__name__} {chosen}"


@dataclass(frozen=True)
class RawEvent(Event):
    """A message of any bytes; `message` is those."""

    kind: str

    @property
    def type(self) -> str:
        return self.kind

    @property
    def data(self) -> bytes:
        return self.message


def _other_bytes(event: Event, rng: random.Random) -> Event:
    return RawEvent(event.topic, event.log_ns, rng.choice(BYTES)(event.data, rng), event.type)


def _other_type(event: Event, rng: random.Random) -> Event:
    kind = rng.choice(("std_msgs/msg/String", "sensor_msgs/msg/JointState", "smolvla_ros/msg/ActionChunk"))
    return RawEvent(event.topic, event.log_ns, event.data, kind)


def _other_text(event: Event, rng: random.Random) -> Event:
    """JSON of other types where a node describes itself; any text elsewhere."""
    try:
        told = with_wrong_values(json.loads(event.message.data), rng, rng.choice((1, 5)))
    except ValueError:
        told = rng.choice(WRONG)
    text = rng.choice((json.dumps(told), "[" * 10_000, "[[1, 2]]", '{"parameters": [[1, 2]]}', '{"instruction": [1]}'))
    return replace(event, message=message("std_msgs/msg/String", data=text))


def _other_fields(event: Event, rng: random.Random) -> Event:
    """Numbers and names that a sound message never has."""
    store = types()
    twin = store.deserialise(event.type, event.data)
    for name in rng.sample([name for name in vars(twin) if name not in ("header", "__msgtype__")], k=1):
        value = getattr(twin, name)
        if isinstance(value, int):
            setattr(twin, name, rng.choice((0, 1, 255)) if name == "is_bigendian" else rng.randrange(2**7))
        elif isinstance(value, str):
            setattr(twin, name, rng.choice(("", "\x00", "x" * 10_000, "16UC1", "rgb8")))
        elif isinstance(value, list):
            setattr(twin, name, rng.choice(([], value[:-1], value * 2, [""] * len(value))))
        elif hasattr(value, "dtype"):
            changed = value.copy()
            changed[: rng.randrange(len(changed) + 1)] = 0 if changed.dtype.kind == "u" else float("nan")
            setattr(twin, name, rng.choice((changed, value[:-1], value[:0])))
    return replace(event, message=twin)


# What the tools make of it.

KINDS: tuple[Callable[[Path, random.Random], str], ...] = (broken_file, broken_metadata, broken_messages)


def use_every_tool(bag: Path, out: Path, knows_robot: bool) -> None:
    """Reads it, plans to play it, exports and replays it. Only errors for users may come out."""
    with contextlib.suppress(BagError), open_bag(bag) as opened:
        for recorded in opened.read(opened.topics):
            with contextlib.suppress(BagError):
                _ = recorded.message
        recorded_offers(opened.path, opened.topics)
    with contextlib.suppress(BagError, BringUpError):
        out.mkdir()
        plan_replay(ReplayOptions(bag=str(bag)), out)
    robot = ("--robot", "so101_sim") if knows_robot else ()
    for command, *options in (("export", "--codec", "h264", "--fps", "10", "--min-length", "0.2"), ("replay",)):
        code = main([command, str(bag), "--out", str(out / command), *robot, *options])
        assert code in (0, 1, 2, 3), f"exit code {code}"


def peak_kb(work: Callable[[], object]) -> int:
    """The most memory that the process had meanwhile."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    work()
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def tell(seed: int, what: str, bag: Path, out: Path) -> None:
    """Prints what came of a bag: traceback ('' for none), seconds of work, memory."""
    found = ""

    def use() -> None:
        nonlocal found
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            try:
                use_every_tool(bag, out, knows_robot=bool(seed % 2))
            except Exception:
                found = traceback.format_exc()
        longest = max(map(len, said.getvalue().splitlines()), default=0)
        if longest > 10_000:
            found += f"a line of {longest} characters was said"

    began = time.process_time()
    peak = peak_kb(use)
    line = {"seed": seed, "what": what, "traceback": found, "work_s": time.process_time() - began, "peak_kb": peak}
    print(json.dumps(line), flush=True)
    shutil.rmtree(out, ignore_errors=True)


def run(first: int, count: int, folder: Path) -> None:
    setup.load_policy = lambda values, robot, warn: FakePolicy()
    write_bag(folder / "honest", recorded_events(SCENE))
    for seed in (-1, -2, -1):  # the first use of everything costs memory of its own
        tell(seed, "honest", folder / "honest", folder / "out")
    for seed in range(first, first + count):
        rng = random.Random(seed)
        bag = folder / str(seed)
        what = KINDS[seed % len(KINDS)](bag, rng)
        tell(seed, what, bag, folder / "out")
        shutil.rmtree(bag)


if __name__ == "__main__":
    run(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
