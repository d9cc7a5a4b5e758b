"""A function on many inputs: every input is answered for, whoever dies."""

import multiprocessing
import os

import pytest
from many_inputs import Counting, killed_always, killed_once, killed_when_idle

from smolvla_ros.parallel.capacity import available_bytes, fitting_jobs, usable_cpus
from smolvla_ros.parallel.outcome import Lost
from smolvla_ros.parallel.processes import over_processes


def test_a_worker_keeps_what_it_has_from_one_input_to_the_next():
    assert dict(over_processes(Counting(), ["a", "b", "c"], jobs=1)) == {0: ("a", 1), 1: ("b", 2), 2: ("c", 3)}


def test_the_input_of_a_killed_worker_is_done_again(tmp_path):
    inputs = [str(tmp_path / name) for name in ("healthy", "struck")]
    assert dict(over_processes(killed_once, inputs, jobs=2)) == {0: "healthy", 1: "done again"}


def test_an_input_that_kills_every_worker_is_named_and_the_others_are_done():
    found = dict(over_processes(killed_always, ["a", "fatal", "b"], jobs=2))
    assert (found[0], found[2]) == ("a", "b")
    assert isinstance(found[1], Lost) and "memory" in found[1].reason
    assert not multiprocessing.active_children()


def test_a_worker_that_dies_when_it_has_nothing_to_do_costs_nothing():
    found = list(over_processes(killed_when_idle, ["slow", "quick"], jobs=2))
    assert sorted(found) == [(0, "slow"), (1, "quick")]


def test_a_caller_that_is_told_to_stop_leaves_no_process_behind():
    def check():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(over_processes(killed_always, ["a", "b"], 2, check))
    assert not multiprocessing.active_children()


def test_a_container_gets_as_many_processes_as_it_may_use(tmp_path):
    (tmp_path / "cpu.max").write_text("150000 100000")
    (tmp_path / "memory.max").write_text("4000000000")
    (tmp_path / "memory.current").write_text("1000000000")
    (tmp_path / "meminfo").write_text("MemTotal: 64000000 kB\nMemAvailable: 32000000 kB\n")
    assert usable_cpus(tmp_path) == min(2, len(os.sched_getaffinity(0)))
    assert available_bytes(tmp_path / "meminfo", tmp_path) == 3_000_000_000
    assert available_bytes(tmp_path / "meminfo", tmp_path / "none") == 32_768_000_000
    assert usable_cpus(tmp_path / "none") == len(os.sched_getaffinity(0))


def test_jobs_are_as_many_as_tasks_cpus_and_memory_allow():
    assert fitting_jobs(tasks=3, bytes_each=10, cpus=8, free_bytes=1000) == 3
    assert fitting_jobs(tasks=30, bytes_each=10, cpus=8, free_bytes=1000) == 8
    assert fitting_jobs(tasks=30, bytes_each=10, cpus=8, free_bytes=45) == 4
    assert fitting_jobs(tasks=30, bytes_each=10, cpus=8, free_bytes=5) == 1
    assert fitting_jobs(tasks=30, bytes_each=10, cpus=8, free_bytes=0) == 8
