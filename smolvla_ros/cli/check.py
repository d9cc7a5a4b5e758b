"""Look at a checkpoint before it moves anything: what it is, what it needs, whether it would be refused.

    smolvla-ros check DIR --robot my_arm.yaml

Loads it as the policy node does, weights included, with --robot by the node's own parameters. Exit code 0 if it can be
used and, with --robot, cameras, joints, names and units fit; else 1.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .bag_options import robot_of
from .check_robot import position_limits, show_fit
from .robot_option import node_name, read_node_parameters

if TYPE_CHECKING:
    from rich.console import Console

    from smolvla_ros.model import SmolVLAPolicy
    from smolvla_ros.model.checkpoint.loading import LoadingPlan
    from smolvla_ros.parameters.policy import PolicyParameters
    from smolvla_ros.robot import RobotConfig


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `check`."""
    parser.add_argument("checkpoint", help="folder of a LeRobot SmolVLA checkpoint, or a hub id 'org/name'")
    parser.add_argument("--revision", default="", help="commit, tag or branch of a hub id")
    parser.add_argument("--robot", default="", help="robot config to hold it against: a shipped one or a YAML file")
    parser.add_argument("--urdf", type=Path, metavar="FILE", help="with --robot: the robot description with the limits")
    parser.add_argument("--namespace", default="", help="with --robot: that of the nodes, for the config's sections")
    parser.add_argument("--state-statistics", default="", metavar="CHOICE",
                        help="for a checkpoint without them: a set in it, a file, or 'none'")
    parser.add_argument("--action-statistics", default="", metavar="CHOICE", help="the same for the action")


def run(args: argparse.Namespace) -> int:
    """Prints the page; 0 if the checkpoint can be used."""
    import logging

    from rich.console import Console

    from smolvla_ros.model import CheckpointError
    from smolvla_ros.model.checkpoint.loading import read_plan
    from smolvla_ros.parameters import ParameterError
    from smolvla_ros.policy.setup import chosen_statistics

    logging.basicConfig(format="note: %(message)s")
    console = Console(highlight=False, soft_wrap=True)
    parameters = _parameters(args)
    robot = robot_of(parameters, args.robot) if args.robot else None
    try:
        plan = read_plan(parameters.checkpoint, parameters.revision, choices=chosen_statistics(parameters))
        _show_plan(console, plan)
        policy = _loaded(parameters, robot, console)
    except CheckpointError as error:
        console.print(f"\n[bold red]refused[/]: {_plain(error)}")
        return 1
    except ParameterError as error:
        for problem in error.problems:
            console.print(f"\n[bold red]refused by the node[/]: {_plain(problem)}")
        return 1
    _show_proofs(console, policy)
    return show_fit(console, policy, plan, robot, position_limits(args, robot)) if robot else 0


def _parameters(args: argparse.Namespace) -> PolicyParameters:
    """What the policy node would run with; what the command line says counts more than the robot config."""
    from smolvla_ros.parameters.policy import PolicyParameters

    said = {
        "checkpoint": args.checkpoint,
        "revision": args.revision,
        "state_statistics": args.state_statistics,
        "action_statistics": args.action_statistics,
    }
    overrides = {"device_fallback": "cpu"} | {name: value for name, value in said.items() if value}
    if not args.robot:  # nothing looks at the joint then
        return PolicyParameters.from_values({"joints": ["any"], **overrides})
    return read_node_parameters(args.robot, node_name(args.namespace, "policy_node"), PolicyParameters, overrides)


def _loaded(parameters: PolicyParameters, robot: RobotConfig | None, console: Console) -> SmolVLAPolicy:
    """The policy, loaded as the node does, and held against the robot if there is one."""
    from smolvla_ros.model import SmolVLAPolicy
    from smolvla_ros.policy.setup import chosen_statistics, load_policy

    if robot is None:
        return SmolVLAPolicy.from_checkpoint(
            parameters.checkpoint, dtype="auto", revision=parameters.revision,
            statistics=chosen_statistics(parameters),
        )  # fmt: skip
    loaded: SmolVLAPolicy = load_policy(parameters, robot, lambda text: console.print(f"note: {_plain(text)}"))
    return loaded


def _show_plan(console: Console, plan: LoadingPlan) -> None:
    config = plan.config
    width_height = "as they come" if config.image_size_wh is None else "{} x {}".format(*config.image_size_wh)
    facts = {
        "checkpoint": plan.location.folder,
        "backbone": f"{config.kept_layers} of {config.text.num_layers} language layers of width "
        f"{config.text.hidden_size}, vision {config.vision.num_layers} layers of width {config.vision.hidden_size}",
        "expert": f"{config.expert_layers} layers of width {config.expert_width}, {config.attention_mode}",
        "chunk": f"{config.chunk_size} actions in {config.num_steps} steps" + _seconds(plan),
        "images": f"fitted to {width_height}",
        "cameras": ", ".join(_sources(plan)),
        "instruction": f"up to {plan.reader.settings.max_length} tokens",
    }
    for name, value in facts.items():
        console.print(f"{name:12} {_plain(value)}")
    for feature, source, names, size in (
        ("observation.state", plan.processing.state, plan.names.state, config.state_dim),
        ("action", plan.processing.action, plan.names.action, config.action_dim),
    ):
        mode = source.modes.get("STATE" if feature == "observation.state" else "ACTION", "IDENTITY")
        _show_feature(console, feature, mode, source.found(feature), names or tuple(map(str, range(size))))


def _show_feature(console: Console, feature: str, mode: str, found: Mapping[str, Any], names: tuple[str, ...]) -> None:
    from rich.table import Table

    from smolvla_ros.model.checkpoint.units import guess_units

    guess = guess_units(found)
    console.print(f"\n[bold]{feature}[/], {mode}; probably {guess.units}: {guess.reason}")
    columns = [name for name in ("mean", "std", "min", "max", "q01", "q99") if name in found]
    table = Table(box=None, pad_edge=False)
    table.add_column("value")
    for column in columns:
        table.add_column(column, justify="right")
    for place, name in enumerate(names):
        table.add_row(name, *(f"{float(found[column][place]):.4g}" for column in columns))
    console.print(table)


def _show_proofs(console: Console, policy: SmolVLAPolicy) -> None:
    from smolvla_ros.model.checkpoint.golden import fewer_steps

    console.print(f"\n{'weights':12} {policy.network.parameter_count:,} parameters in use, all finite")
    console.print(f"{'arithmetic':12} {_plain(policy.engine.reason)}")
    console.print(f"{'probe':12} the normalisation acts on state and action")
    golden = policy.golden_difference
    console.print(f"{'golden input':12} " + ("none stored" if golden is None else f"replayed, differs by {golden:.1e}"))
    if golden is not None:
        changes = fewer_steps(policy, policy.folder)
        told = ", ".join(f"{steps}: {change:.3f}" for steps, change in changes.items())
        console.print(f"{'num_steps':12} largest change of a normalised action with fewer steps: {told}")


def _sources(plan: LoadingPlan) -> tuple[str, ...]:
    renamed = {new: f"{old} (renamed to {new})" for old, new in plan.processing.rename_map.items()}
    return tuple(renamed.get(name, name) for name in plan.cameras)


def _seconds(plan: LoadingPlan) -> str:
    return f", {plan.config.chunk_size / plan.names.fps:.2f} s at {plan.names.fps} per second" if plan.names.fps else ""


def _plain(text: object) -> str:
    from rich.markup import escape

    return escape(str(text))
