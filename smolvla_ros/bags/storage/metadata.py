"""What metadata.yaml says of a bag. It helps, and is never needed: files and messages speak for themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from smolvla_ros.bags.messages import full_topic
from smolvla_ros.foreign_yaml import YamlError, load_yaml, load_yaml_file

from .blocks import Report

METADATA = "metadata.yaml"


@dataclass(frozen=True)
class Metadata:
    """What metadata.yaml says; all empty if it says nothing.

    files: their names in order.
    messages: their number, by topic.
    profiles: the qualities of service that publishers offered, by topic.
    """

    files: tuple[str, ...] = ()
    messages: Mapping[str, int] = field(default_factory=dict)
    profiles: Mapping[str, tuple[Mapping[str, Any], ...]] = field(default_factory=dict)


def read_metadata(folder: Path, report: Report = lambda text: None) -> Metadata:
    """Reads the metadata of a bag; reports what keeps it from being used."""
    try:
        return _metadata(load_yaml_file(folder / METADATA))
    except (FileNotFoundError, NotADirectoryError):
        report(f"{METADATA} is missing: the recording was not closed, or it was lost (`ros2 bag reindex` makes one)")
    except OSError as error:
        report(f"{METADATA} cannot be read: {error.strerror}")
    except YamlError as error:
        report(f"{METADATA} cannot be used: {error} (`ros2 bag reindex` makes a new one)")
    return Metadata()


def _metadata(content: Any) -> Metadata:
    information = _get(content, "rosbag2_bagfile_information", dict)
    messages: dict[str, int] = {}
    profiles: dict[str, tuple[Mapping[str, Any], ...]] = {}
    for entry in _get(information, "topics_with_message_count", list):
        topic = _get(entry, "topic_metadata", dict)
        name = full_topic(_get(topic, "name", str))
        messages[name] = messages.get(name, 0) + _get(entry, "message_count", int)
        profiles[name] = (*profiles.get(name, ()), *_profiles(topic.get("offered_qos_profiles")))
    files = tuple(PurePosixPath(name).name for name in _get(information, "relative_file_paths", list)
                  if isinstance(name, str) and "\0" not in name)  # fmt: skip
    return Metadata(files, messages, profiles)


def _get(content: Any, key: str, kind: type) -> Any:
    """A value of a mapping. Raises: YamlError: there is none of this type."""
    value = content.get(key) if isinstance(content, dict) else None
    if type(value) is not kind:
        raise YamlError(f"its {key} is missing or no {kind.__name__}")
    return value


def _profiles(told: Any) -> Iterator[Mapping[str, Any]]:
    """Up to version 8 of rosbag2's metadata the profiles are YAML inside of YAML."""
    try:
        profiles = load_yaml(told) if isinstance(told, str) else told
    except YamlError:
        return
    yield from (profile for profile in profiles if isinstance(profile, dict)) if isinstance(profiles, list) else ()
