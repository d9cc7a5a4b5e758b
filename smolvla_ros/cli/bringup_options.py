"""The arguments of a bring-up as options of a command: the same names and help texts as those of `ros2 launch`."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Collection
from typing import TypeVar

from smolvla_ros.bringup.options import LOG_LEVELS, BringupOptions

OptionsT = TypeVar("OptionsT", bound=BringupOptions)


def add_options(
    parser: argparse.ArgumentParser, options: type[BringupOptions], leave_out: Collection[str] = ()
) -> None:
    """Adds one option for each field."""
    for field in dataclasses.fields(options):
        if field.name in leave_out:
            continue
        flag, text = "--" + field.name.replace("_", "-"), field.metadata["help"]
        if isinstance(field.default, bool):
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, default=field.default, help=text)
        elif isinstance(field.default, tuple):
            metavar, _, text = text.partition(": ")
            parser.add_argument(flag, action="append", default=[], metavar=metavar, help=f"{text}; repeatable")
        else:
            choices = LOG_LEVELS if field.name == "log_level" else None
            parser.add_argument(flag, type=type(field.default), default=field.default, choices=choices, help=text)


def options_from(args: argparse.Namespace, options: type[OptionsT]) -> OptionsT:
    """The options that were given."""
    values = {field.name: getattr(args, field.name) for field in dataclasses.fields(options)}
    return options(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})
