"""Names of topics: how a config's names become those of a bag, and what to say about one that is not there."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from .messages import Topic


@dataclass(frozen=True)
class StreamNames:
    """Resolves the names of a config as ROS does: relative ones under the namespace, then the remappings.

    `remaps` has names of the config as keys and topics of the bag as values; both may be relative.
    """

    namespace: str = ""
    remaps: Mapping[str, str] = field(default_factory=dict)

    def resolve(self, name: str) -> str:
        """The full name of a topic in the bag."""
        full = self.absolute(name)
        remaps = {self.absolute(before): self.absolute(after) for before, after in self.remaps.items()}
        return remaps.get(full, full)

    def absolute(self, name: str) -> str:
        """The full name before remapping."""
        if name.startswith("/"):
            return name
        namespace = self.namespace.strip("/")
        return f"/{namespace}/{name}" if namespace else f"/{name}"

    def unused_remaps(self, known: Collection[str]) -> list[str]:
        """The remapped names that are none of the `known` names of the config."""
        full = {self.absolute(name) for name in known}
        return [name for name in self.remaps if self.absolute(name) not in full]


def why_missing(topics: Mapping[str, Topic], what: str, name: str, types: Collection[str], names: StreamNames) -> str:
    """One sentence about a topic that a bag does not have: what was looked for, what there is, what to do.

    Args:
        topics: of the bag.
        what: for whom the topic is, such as "camera 'front'".
        name: as the config has it.
        types: any of which would do.
    """
    full = names.resolve(name)
    wanted = f"{what}: no messages on {full}" + (f" ('{name}' in the robot config)" if full != name else "")
    related = [topic for other, topic in topics.items() if other == full or other.startswith(f"{full}/")]
    usable = [topic for topic in topics.values() if topic.type in types and topic.messages]
    alike = [] if usable else [topic for topic in topics.values() if topic not in related and _is_alike(topic, types)]
    facts = [_described(topic, types) for topic in (*related, *alike) if topic not in usable]
    kinds = " or ".join(kind.rpartition("/")[2] for kind in types)
    listed = ", ".join(f"{topic.name} ({_count(topic.messages)})" for topic in usable)
    facts.append(f"{kinds} messages are on {listed}" if usable else f"the bag has no {kinds} messages")
    return "; ".join([wanted, *facts, *_remedy(name, usable, names)])


def _is_alike(topic: Topic, types: Collection[str]) -> bool:
    """Whether somebody may have meant a topic although its type cannot be used: pictures in another form."""
    words = ("image", "video")
    return any("image" in kind.lower() for kind in types) and any(word in topic.type.lower() for word in words)


def _described(topic: Topic, types: Collection[str]) -> str:
    if topic.type in types:
        return f"{topic.name} is in the bag, but empty"
    return f"{topic.name} has {_count(topic.messages)} of type {topic.type or 'unknown'}, which cannot be used"


def _remedy(name: str, usable: Collection[Topic], names: StreamNames) -> list[str]:
    if not usable:
        return []
    if not name.startswith("/"):
        found = {topic.name.removesuffix(f"/{name}").strip("/") for topic in usable if topic.name.endswith(f"/{name}")}
        others = sorted(found - {names.namespace.strip("/")})
        if others:
            return [f"give --namespace {' or '.join(filter(None, others))}" if any(others) else "leave out --namespace"]
    topic = next(iter(usable)).name if len(usable) == 1 else "TOPIC"
    return [f"give --remap {name}:={topic}, or change the robot config"]


def _count(messages: int) -> str:
    return f"{messages} message{'' if messages == 1 else 's'}"
