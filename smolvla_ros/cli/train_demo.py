"""Make the demo policy anew: render samples, train, evaluate in virtual time.

Takes about 45 minutes on two cores, 3 GB of memory and 2 GB of disk; no GPU. An interrupted run goes on where it last
saved when started again with the same options. Writes the checkpoint to --output, and beside it <output>.log,
<output>.resume and <output>.samples.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `train-demo`."""
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("demo_policy"),
        metavar="DIR",
        help="folder of the checkpoint (default: demo_policy)",
    )
    parser.add_argument("--samples", type=int, default=32_000, help="pictures to train on (default: 32000)")
    parser.add_argument("--steps", type=int, help="of training; the default is that of the shipped policy")
    parser.add_argument("--seed", type=int, default=1, help="of samples, weights and batches (default: 1)")
    parser.add_argument("--workers", type=int, default=2, help="processes that render (default: 2)")
    parser.add_argument(
        "--threads", type=int, default=1, help="of torch; more than there are free cores makes it slower (default: 1)"
    )
    parser.add_argument("--episodes", type=int, default=200, help="of the evaluation at the end (default: 200)")


def run(args: argparse.Namespace) -> int:
    """Trains and evaluates; 0 when done."""
    import torch

    from smolvla_ros.sim.dataset import make_samples
    from smolvla_ros.sim.demo_model import record_golden_scene
    from smolvla_ros.sim.evaluation import evaluate
    from smolvla_ros.sim.training import DemoTraining, TrainingSettings, resume_path

    args.output.parent.mkdir(parents=True, exist_ok=True)
    log_file = args.output.with_name(args.output.name + ".log")
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(message)s",
        handlers=[logging.StreamHandler(), logging.FileHandler(log_file)],
    )
    torch.set_num_threads(args.threads)
    settings = TrainingSettings(seed=args.seed, **({"steps": args.steps} if args.steps else {}))
    folder = args.output.with_name(args.output.name + ".samples")
    training = DemoTraining(make_samples(folder, args.samples, args.seed, args.workers), settings)
    if resume_path(args.output).exists():
        training.resume(args.output)
        logging.info("resumed at step %d", training.step)
    training.run(args.output, lambda folder: str(evaluate(folder, episodes=20)))
    logging.info("final: %s", evaluate(args.output, episodes=args.episodes, seed=1))
    record_golden_scene(args.output)
    return 0
