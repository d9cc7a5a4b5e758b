"""The same function as tasks of a Ray cluster of two nodes on this machine."""

import os
from pathlib import Path

import many_inputs
import pytest

ray = pytest.importorskip("ray", reason="needs the extra [ray], which `make` does not install (250 MB)")


@pytest.fixture(scope="module")
def cluster():
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        cluster.add_node(num_cpus=1)
        paths = os.pathsep.join([str(Path(many_inputs.__file__).parent), os.environ.get("PYTHONPATH", "")])
        support = {"env_vars": {"PYTHONPATH": paths}}
        ray.init(address=cluster.address, runtime_env=support, log_to_driver=False, logging_level="ERROR")
        cluster.wait_for_nodes()
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()


def test_tasks_go_to_both_nodes(cluster):
    from smolvla_ros.parallel.ray_cluster import over_ray

    def where(name: str) -> str:
        import time

        time.sleep(2.0)  # so that the second task finds the first node busy
        return ray.get_runtime_context().get_node_id()

    found = dict(over_ray(where, ["a", "b"], cpus=1))
    assert len(set(found.values())) == 2


def test_the_input_of_a_killed_worker_is_done_again(cluster, tmp_path):
    from smolvla_ros.parallel.ray_cluster import over_ray

    inputs = [str(tmp_path / name) for name in ("healthy", "struck")]
    assert dict(over_ray(many_inputs.killed_once, inputs, cpus=1)) == {0: "healthy", 1: "done again"}


def test_an_input_that_kills_every_worker_is_named(cluster):
    from smolvla_ros.parallel.outcome import Lost
    from smolvla_ros.parallel.ray_cluster import over_ray

    found = dict(over_ray(many_inputs.killed_always, ["a", "fatal"], cpus=1))
    assert found[0] == "a" and isinstance(found[1], Lost)
