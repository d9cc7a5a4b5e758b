"""What happens around a controller in motion, at random: stops, resumes, pauses and deaths of processes.

The monitor asserts the invariants in every command and status meanwhile.
"""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from collections.abc import Callable

from controller_world import Monitor, Process, World
from executor_thread import destroy
from lifecycle_msgs.msg import Transition
from std_srvs.srv import Trigger

from smolvla_ros.msg import ExecutionStatus as Status


class StopWatch:
    """How long `~/stop` takes to be answered, beside a service that does nothing."""

    def __init__(self, world: World):
        self._monitor = world.monitor
        self.answers_s: list[float] = []
        self.bare_s: list[float] = []
        world.bare_service()
        self._bare = self._monitor.create_client(Trigger, "/bare_service/answer")
        assert self._bare.wait_for_service(20.0)
        self.renew()

    def renew(self) -> None:
        """After a new controller has come."""
        self._stop = self._monitor.create_client(Trigger, "/controller_node/stop")
        assert self._stop.wait_for_service(20.0)

    def stop(self) -> None:
        """Stops the controller, and asks the other one."""
        self.answers_s.append(self._ask(self._stop))
        self.bare_s.append(self._ask(self._bare))

    def forget_controller(self) -> None:
        destroy(self._monitor, self._stop)

    def _ask(self, client: object) -> float:
        begin_s, answered_s = time.monotonic(), []
        future = client.call_async(Trigger.Request())
        future.add_done_callback(lambda _: answered_s.append(time.monotonic()))
        self._monitor.wait_until(lambda: answered_s, "an answer")
        return answered_s[0] - begin_s


class Cycles:
    """Random cycles around an arm, a controller and a policy in processes of their own; each ends in motion."""

    def __init__(self, world: World, seed: int):
        self._world, self._random = world, random.Random(seed)
        self._arm, self._controller = world.arm(), world.controller()
        self._policy = world.policy()
        self.watch = StopWatch(world)
        self.done: Counter[str] = Counter()
        self._monitor.wait_for(Status.FOLLOWING)

    @property
    def _monitor(self) -> Monitor:
        return self._world.monitor

    def run(self, cycles: int) -> None:
        """So many; a controller's death is rare, because the middleware keeps its remains for 20 s."""
        kinds: list[Callable[[], None]] = [
            self.stop_and_resume, self.stop_and_resume, self.pause_policy, self.pause_arm, self.pause_controller,
            self.kill_policy, self.deactivate,
        ]  # fmt: skip
        for cycle in range(cycles):
            self._sleep(0.0, 0.5)
            kind = self.kill_controller if cycle % 20 == 10 else self._random.choice(kinds)
            kind()
            self.done[kind.__name__] += 1
            self._monitor.wait_for(Status.FOLLOWING, timeout_s=60.0)
            assert not self._monitor.problems, (kind.__name__, self._monitor.problems[:3])

    def stop_and_resume(self) -> None:
        self.watch.stop()
        self._sleep(0.0, self._random.choice((0.03, 0.5)))
        assert self._monitor.call("resume").success

    def pause_policy(self) -> None:
        self._pause(self._policy, 1.5)

    def pause_arm(self) -> None:
        self._pause(self._arm, 0.6)

    def pause_controller(self) -> None:
        self._pause(self._controller, 1.0)

    def kill_policy(self) -> None:
        self._policy.kill()
        self._sleep(0.0, 1.5)
        self._policy = self._world.policy()

    def deactivate(self) -> None:
        assert self._monitor.change_state(Transition.TRANSITION_DEACTIVATE)
        self._monitor.wait_for(Status.INACTIVE)
        self._sleep(0.0, 0.3)
        self._monitor.forget_command()
        assert self._monitor.change_state(Transition.TRANSITION_ACTIVATE)

    def kill_controller(self) -> None:
        self._policy.signal(signal.SIGSTOP)  # nothing is to be commanded before everybody knows the new one
        self.watch.forget_controller()
        self._controller.kill()
        self._monitor.wait_until_no_commander()
        self._monitor.forget_command()
        self._controller = self._world.controller()
        self._monitor.wait_for_commanders(1)
        self.watch.renew()
        self._policy.signal(signal.SIGCONT)

    def _pause(self, process: Process, longest_s: float) -> None:
        process.signal(signal.SIGSTOP)
        self._sleep(0.05, longest_s)
        process.signal(signal.SIGCONT)
        self._sleep(0.1, 0.3)  # time for what it had to do

    def _sleep(self, shortest_s: float, longest_s: float) -> None:
        time.sleep(self._random.uniform(shortest_s, longest_s))


def in_ms(times_s: list[float]) -> str:
    """Median, 99th percentile and maximum, for people."""
    ordered = sorted(1e3 * time_s for time_s in times_s)
    if not ordered:
        return "never asked"
    p99 = ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))]
    return f"p50 {ordered[len(ordered) // 2]:.1f}, p99 {p99:.1f}, max {ordered[-1]:.1f} ms of {len(ordered)}"
