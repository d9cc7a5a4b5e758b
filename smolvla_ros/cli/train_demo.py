"""Make the demo policy anew: render samples, train, evaluate in virtual time.

    smolvla-ros train-demo --output my_policy

Takes about two hours on two cores, 8 GB of memory and 5 GB of disk; no GPU. An interrupted run goes on where it last
saved when started again with the same options. Writes the checkpoint to --output, and beside it <output>.log,
<output>.curves.jsonl (one JSON object a line), <output>.resume, <output>.samples and the policies of the rounds in
which its own states were labelled.
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
    parser.add_argument("--drawn", type=int, default=34, help="thousand states set by hand (default: 34)")
    parser.add_argument("--expert", type=int, default=6, help="thousand states of the expert's episodes (default: 6)")
    parser.add_argument("--own", type=int, default=7, help="thousand of the policy's own, three times (default: 7)")
    parser.add_argument("--steps", type=int, default=14_000, help="of training (default: 14000)")
    parser.add_argument("--seed", type=int, default=1, help="of samples, weights and batches (default: 1)")
    parser.add_argument("--workers", type=int, default=2, help="processes that make samples (default: 2)")
    parser.add_argument(
        "--threads", type=int, default=1, help="of torch; more than there are free cores makes it slower (default: 1)"
    )
    parser.add_argument("--episodes", type=int, default=40, help="of each task, at the end (default: 40)")


def run(args: argparse.Namespace) -> int:
    """Trains and evaluates; 0 when done."""
    import torch

    from smolvla_ros.sim.dataset import SampleSource, ShardFactory
    from smolvla_ros.sim.demo_model import record_golden_scene
    from smolvla_ros.sim.evaluation import evaluate_checkpoint
    from smolvla_ros.sim.training import DemoTraining, TrainingSettings, resume_path

    args.output.parent.mkdir(parents=True, exist_ok=True)
    log_file = args.output.with_name(args.output.name + ".log")
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(message)s",
        handlers=[logging.StreamHandler(), logging.FileHandler(log_file)],
    )
    torch.set_num_threads(args.threads)
    settings = TrainingSettings.planned(args.steps, args.seed, args.own)
    factory = ShardFactory(args.output.with_name(args.output.name + ".samples"), args.seed, args.workers)
    started = [factory.start(SampleSource("drawn", args.drawn)), factory.start(SampleSource("expert", args.expert))]
    training = DemoTraining([shard for part in started for shard in factory.finish(part)], settings, factory)
    logging.info("%d samples, %d parameters", len(training.batches), training.network.parameter_count)
    if resume_path(args.output).exists():
        training.resume(args.output)
        logging.info("resumed at step %d", training.step)
    training.run(args.output, lambda folder: evaluate_checkpoint(folder, episodes=2))
    logging.info("final: %s", evaluate_checkpoint(args.output, args.episodes, seed=1))
    record_golden_scene(args.output)
    factory.close()
    return 0
