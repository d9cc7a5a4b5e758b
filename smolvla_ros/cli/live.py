"""What the commands that talk to a running arm have in common."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from smolvla_ros.client import ArmClient


class CommandFailed(RuntimeError):
    """The command could not do what was asked; the text says why and what to do. Exit code 1."""


def add_namespace(parser: argparse.ArgumentParser) -> None:
    """Adds the options that say which arm is meant."""
    parser.add_argument("--namespace", default="", help="namespace of the arm")
    parser.add_argument("--arm", default="", metavar="NAME", help="one of several arms of a policy, such as left")


@contextlib.contextmanager
def connected(args: argparse.Namespace) -> Iterator[ArmClient]:
    """A node of the command in the arm's namespace; a signal ends each of its waits.

    Raises:
        CommandFailed: what is asked within has no answer.
    """
    from smolvla_ros.client import ArmClient, ClientError

    name = "smolvla_ros_" + args.command.replace("-", "_")
    with args.signals.deferred() as check:
        try:
            with ArmClient(name, _namespace(args), check) as client:
                yield client
        except ClientError as error:
            raise CommandFailed(str(error)) from error


def _namespace(args: argparse.Namespace) -> str:
    """Of the arm that is meant."""
    return "/".join(part for part in (args.namespace.strip("/"), getattr(args, "arm", "")) if part)


def refuse_beside_another_arm(args: argparse.Namespace) -> None:
    """What is about to be brought up would hear, and be heard by, an arm that is up already.

    Raises:
        CommandFailed: one is.
    """
    with connected(args) as client:
        there = client.nodes_there()
    if there:
        raise CommandFailed(
            f"{', '.join(there)} already runs in this ROS domain and would be taken for that of this command: end it, "
            "or keep apart with ROS_DOMAIN_ID=<another number> or --namespace"
        )
