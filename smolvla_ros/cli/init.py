"""Write the first version of a robot's YAML out of what is there: a checkpoint or dataset, and the running robot.

    smolvla-ros init --checkpoint DIR --from-graph --out my_robot.yaml
    smolvla-ros init --dataset DIR --urdf my_robot.urdf --out my_robot.yaml

Asks only for what neither tells; without a terminal, or to a script, it names the option that says it. The file holds
limits for a slow first day. Exit code 0 when it is written, 1 if something is missing.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from .live import CommandFailed, connected

if TYPE_CHECKING:
    from smolvla_ros.draft.expected import ExpectedFeatures
    from smolvla_ros.draft.found import CommandTopic, FoundRobot
    from smolvla_ros.draft.questions import Questions
    from smolvla_ros.draft.units import DraftJoint, Unit

_RATES = ("10", "15", "20", "25", "30", "50", "60")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `init`."""
    parser.add_argument("--checkpoint", default="", help="folder of a LeRobot SmolVLA checkpoint, or a hub id")
    parser.add_argument("--revision", default="", help="commit, tag or branch of a hub id")
    parser.add_argument("--dataset", type=Path, metavar="DIR", help="folder of a LeRobot dataset: names, rate, ranges")
    parser.add_argument("--from-graph", action="store_true", help="look at the running robot: joints, cameras with "
                        "their rates, robot_description, who takes commands")  # fmt: skip
    parser.add_argument("--namespace", default="", help="with --from-graph: of the robot")
    parser.add_argument("--urdf", type=Path, metavar="FILE", help="robot description, where none is published")
    parser.add_argument("--joints", nargs="+", default=[], metavar="NAME",
                        help="the robot's joints in the policy's order")
    parser.add_argument("--camera", action="append", default=[], metavar="NAME=TOPIC", help="repeatable")
    parser.add_argument("--command", dest="commands", action="append", default=[], metavar="TYPE=TOPIC[:JOINT,...]",
                        help="repeatable, one for each controller of the robot; such as "
                        "joint_trajectory=arm_controller/joint_trajectory")  # fmt: skip
    parser.add_argument("--unit", action="append", default=[], metavar="[JOINT=]UNIT",
                        help="what the policy counts all joints, or one, in: rad (also m), degrees, 0..1, 0..100, "
                        "-100..100")  # fmt: skip
    parser.add_argument("--fps", type=float, default=0.0, help="rows of the policy per second, where nobody tells")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="where to write the YAML")
    parser.add_argument("--force", action="store_true", help="replace a file that exists")


def run(args: argparse.Namespace) -> int:
    """Writes the file; 0 when both nodes would take it."""
    from smolvla_ros.draft.questions import DraftError

    if args.out.exists() and not args.force:
        raise CommandFailed(f"{args.out} exists already: give another --out, or --force to replace it")
    if not args.out.parent.is_dir():
        raise CommandFailed(f"there is no folder {args.out.parent} for --out")
    args.signals.kept = "nothing was written"
    try:
        text = _text(args)
    except DraftError as error:
        raise CommandFailed(str(error)) from error
    args.out.write_text(text, encoding="utf-8")
    print(f"wrote {args.out}; next: smolvla-ros check {args.checkpoint or 'CHECKPOINT'} --robot {args.out}")
    return 0


def _text(args: argparse.Namespace) -> str:
    from smolvla_ros.draft.matching import matched_cameras, matched_commands, matched_joints
    from smolvla_ros.draft.questions import DraftError, Questions
    from smolvla_ros.draft.writing import Draft, draft_text

    expected = _expected(args)
    found = _found(args)
    questions = Questions(_ask if sys.stdin.isatty() else None)
    names = matched_joints(expected, found, args.joints, questions)
    if len(set(names)) != len(names):
        raise DraftError(f"a joint stands twice in {', '.join(names)}")
    cameras = matched_cameras(expected.cameras, found, _pairs("--camera", args.camera), questions)
    commands = matched_commands(names, found, [_command(text, names) for text in args.commands], questions)
    fps = args.fps or expected.fps
    fps = fps or float(questions.choose("how many rows per second was the policy trained at?", _RATES, "--fps"))
    sources = [expected.source, *(["the running robot"] if args.from_graph else [])]
    sources += [f"{args.urdf.name}"] if args.urdf else []
    joints = tuple(_joints(args, expected, found, names, questions))
    return _checked(draft_text(Draft(joints, cameras, commands, found, fps, sources)), args.checkpoint)


def _expected(args: argparse.Namespace) -> ExpectedFeatures:
    """What the policy asks for. Raises DraftError."""
    from smolvla_ros.draft.expected import completed, expected_by_dataset, expected_by_plan
    from smolvla_ros.draft.questions import DraftError

    told = []
    if args.checkpoint:
        from smolvla_ros.model import CheckpointError
        from smolvla_ros.model.checkpoint.loading import read_plan

        try:
            told.append(expected_by_plan(read_plan(args.checkpoint, args.revision)))
        except CheckpointError as error:
            raise DraftError(f"--checkpoint: {error}") from error
    if args.dataset:
        told.append(expected_by_dataset(args.dataset))
    if not told:
        raise DraftError("give --checkpoint or --dataset: what the policy sees and says stands nowhere else")
    return completed(*told) if len(told) == 2 else told[0]


def _found(args: argparse.Namespace) -> FoundRobot:
    """What runs, and the description of a file; without joints that others move. Raises DraftError."""
    from dataclasses import replace

    from smolvla_ros.draft.found import FoundRobot
    from smolvla_ros.draft.questions import DraftError
    from smolvla_ros.execution.urdf import UrdfError, read_limits

    found = FoundRobot()
    if args.from_graph:
        with connected(args) as client:
            from smolvla_ros.draft.listening import find_robot

            found = find_robot(client)
        if not found.joints:
            raise DraftError("--from-graph: nobody publishes joint states in this namespace and ROS domain: start the "
                             "robot's drivers, or leave it out")  # fmt: skip
    if args.urdf:
        try:
            found = replace(found, urdf=args.urdf.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise DraftError(f"--urdf: {error}") from error
    try:
        led = {name for name, limits in read_limits(found.urdf).items() if limits.mimics} if found.urdf else set()
    except UrdfError as error:
        raise DraftError(str(error)) from error
    told = {topic: tuple(name for name in names if name not in led) for topic, names in found.joint_states.items()}
    return replace(found, joint_states=told)


def _joints(
    args: argparse.Namespace, expected: ExpectedFeatures, found: FoundRobot, names: Sequence[str], questions: Questions
) -> list[DraftJoint]:
    """Units and limits. Raises DraftError."""
    from smolvla_ros.draft.questions import DraftError
    from smolvla_ros.draft.units import UNITS, JointEvidence, arm_unit, draft_joint
    from smolvla_ros.execution.urdf import UrdfError, UrdfLimits, read_limits

    try:
        described = read_limits(found.urdf) if found.urdf else {}
    except UrdfError as error:
        raise DraftError(str(error)) from error
    features = expected.names or ("",) * expected.size
    evidence = []
    for name, feature, low, high in zip(names, features, expected.low, expected.high, strict=True):
        limits = described.get(name, UrdfLimits())
        bounds = (limits.lower, limits.upper, limits.velocity)
        evidence.append(JointEvidence(name, feature, float(low), float(high), *bounds))
    said: dict[str, Unit] = {}
    for text in args.unit:
        joint, _, unit = text.rpartition("=")
        if unit not in UNITS or (joint and joint not in names):
            raise DraftError(f"--unit is '{text}', expected [JOINT=]UNIT with one of {', '.join(UNITS)} and a joint of "
                             f"{', '.join(names)}")  # fmt: skip
        said[joint] = unit
    arm = said.get("") or arm_unit(evidence)
    return [draft_joint(one, arm, said.get(one.name) or said.get(""), questions) for one in evidence]


def _pairs(option: str, texts: Sequence[str]) -> dict[str, str]:
    from smolvla_ros.draft.questions import DraftError

    wrong = [text for text in texts if text.count("=") != 1 or not all(text.split("="))]
    if wrong:
        raise DraftError(f"{option} is '{wrong[0]}', expected NAME=TOPIC")
    return dict(text.split("=") for text in texts)


def _command(text: str, names: Sequence[str]) -> CommandTopic:
    """TYPE=TOPIC[:JOINT,...] as a topic. Raises DraftError."""
    from smolvla_ros.draft.found import CommandTopic
    from smolvla_ros.draft.questions import DraftError
    from smolvla_ros.parameters.controller import CommandType

    kinds: tuple[CommandType, ...] = get_args(CommandType)
    kind, _, rest = text.partition("=")
    topic, _, listed = rest.partition(":")
    joints = tuple(name for name in listed.split(",") if name)
    if kind not in kinds or not topic or not set(joints) <= set(names):
        raise DraftError(f"--command is '{text}', expected TYPE=TOPIC or TYPE=TOPIC:JOINT,JOINT with a type of "
                         f"{', '.join(kinds)} and joints of {', '.join(names)}")  # fmt: skip
    return CommandTopic(kind, topic, joints, "what --command says")


def _checked(text: str, checkpoint: str) -> str:
    """The text, which both nodes would take; a draft that they refuse is a fault of what it was made from.

    Raises:
        DraftError: they would not.
    """
    import tempfile

    from smolvla_ros.draft.questions import DraftError
    from smolvla_ros.parameters import ParameterError
    from smolvla_ros.parameters.controller import ControllerParameters
    from smolvla_ros.parameters.files import read_parameters
    from smolvla_ros.parameters.policy import PolicyParameters
    from smolvla_ros.robot import RobotConfig, RobotConfigError
    from smolvla_ros.robot.joint_limits import limits_from

    with tempfile.TemporaryDirectory(prefix="smolvla_ros_") as folder:
        file = Path(folder) / "draft.yaml"
        file.write_text(text, encoding="utf-8")
        try:
            policy = read_parameters(file, "/policy_node", PolicyParameters, {"checkpoint": checkpoint or "later"})
            RobotConfig.from_parameters(policy)
            limits_from(read_parameters(file, "/controller_node", ControllerParameters), None)
        except (ParameterError, RobotConfigError) as error:
            raise DraftError(f"what was found makes no robot that the nodes take: {error}") from error
    return text


def _ask(question: str, choices: Sequence[str]) -> str:
    """Asks on the terminal until one of the choices is given, by its number or name."""
    from rich.prompt import Prompt

    for number, choice in enumerate(choices, start=1):
        print(f"  {number}  {choice}")
    numbers = [str(number) for number in range(1, len(choices) + 1)]
    answer = Prompt.ask(question, choices=[*numbers, *choices], show_choices=False)
    return choices[int(answer) - 1] if answer in numbers and answer not in choices else answer
