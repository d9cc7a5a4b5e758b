"""When a run ends, and why: time is driven, so nothing waits."""

import math

import numpy as np
import pytest

from smolvla_ros.episode.watch import (
    EpisodeOutcome,
    EpisodeRules,
    EpisodeWatch,
    StopConditions,
    Termination,
    problems_of,
)
from smolvla_ros.execution.status import ControllerState
from smolvla_ros.msg import Episode

PERIOD_S = 0.05
TEXT = "touch the red cube"
FOLLOWING, HOLDING, STOPPED = ControllerState.FOLLOWING, ControllerState.HOLDING, ControllerState.STOPPED


class World:
    """Policy, controller and arm as a run hears them."""

    def __init__(self, accepted=True, **conditions):
        self.now_s, self.state, self.position = 100.0, FOLLOWING, 0.0
        self.watch = EpisodeWatch(TEXT, StopConditions(**conditions), EpisodeRules(), self.now_s)
        if accepted:
            self.watch.hear_word(TEXT, True, "")

    def go(self, seconds, speed=0.0):
        """Lets time pass; the ending, as soon as there is one."""
        for _ in range(round(seconds / PERIOD_S)):
            self.now_s += PERIOD_S
            self.position += speed * PERIOD_S
            if self.state is not None:
                self.watch.hear_status(self.state, "chunk exhausted", self.now_s)
            self.watch.hear_positions(np.array([self.position, 0.0]), self.now_s)
            if (ending := self.watch.look(self.now_s)) is not None:
                return ending
        return None


def test_the_time_ends_a_run_and_not_before():
    world = World(timeout_s=5.0)
    assert world.go(4.9) is None
    assert world.go(0.2).reason == Termination.TIMEOUT


def test_rest_counts_after_motion_only_and_from_its_last_moment():
    world = World(rest_s=1.0)
    assert world.go(5.0) is None  # it has not moved yet
    assert world.go(1.0, speed=0.3) is None
    assert world.go(0.9) is None
    assert world.go(0.2, speed=0.3) is None
    assert world.go(0.9) is None
    world.state = HOLDING
    assert world.go(2.0) is None  # kept still, which is no rest of the policy's
    world.state = FOLLOWING
    assert world.go(0.9) is None
    assert world.go(0.3).reason == Termination.AT_REST


def test_success_counts_where_it_is_asked_for():
    world = World(until_success=True)
    world.watch.hear_success(False)
    assert world.go(1.0) is None
    world.watch.hear_success(True)
    assert world.go(0.1).reason == Termination.SUCCESS
    world = World()
    world.watch.hear_success(True)
    assert world.go(1.0) is None


def test_a_refused_instruction_ends_it_with_the_policys_reason():
    world = World(accepted=False)
    world.watch.hear_word("something older", True, "")
    assert world.go(1.0) is None
    world.watch.hear_word(TEXT, False, "49 tokens, at most 48")
    ending = world.go(0.1)
    assert (ending.reason, ending.detail) == (Termination.REFUSED, "49 tokens, at most 48")


@pytest.mark.parametrize(
    ("said", "told"), [("touch the blue cube", "'touch the blue cube' was said"), ("", "withdrawn")]
)
def test_another_instruction_takes_its_place_unless_the_policy_refuses_it(said, told):
    world = World()
    world.watch.hear_word(said, False, "no")
    assert world.go(0.1) is None
    world.watch.hear_word(said, True, "")
    ending = world.go(0.1)
    assert ending.reason == Termination.PREEMPTED and told in ending.detail


def test_a_policy_that_says_nothing_a_controller_that_falls_silent_and_a_stop_end_it():
    ending = World(accepted=False).go(6.0)
    assert ending.reason == Termination.LOST and "no policy answered" in ending.detail
    world = World()
    world.go(1.0)
    world.state = None
    assert world.go(1.4) is None
    ending = world.go(0.2)
    assert ending.reason == Termination.LOST and "silent for 1.5 s" in ending.detail
    world = World()
    world.state = STOPPED
    assert world.go(0.1).reason == Termination.STOPPED


def test_a_park_ends_it_and_a_person_who_takes_over_does_not():
    world = World()
    world.state = ControllerState.TAKEN_OVER
    assert world.go(20.0) is None
    world.state = ControllerState.PARKED
    ending = world.go(0.1)
    assert ending.reason == Termination.STOPPED and "park pose" in ending.detail


def test_a_long_hold_ends_it_with_the_controllers_reason_and_short_ones_do_not():
    world = World()
    world.state = HOLDING
    assert world.go(9.0) is None
    world.state = FOLLOWING
    assert world.go(0.1) is None
    world.state = HOLDING
    assert world.go(9.0) is None
    ending = world.go(2.0)
    assert (ending.reason, ending.detail) == (Termination.HELD, "held for 10 s: chunk exhausted")


def test_the_first_ending_stays():
    world = World(timeout_s=1.0)
    world.watch.end(Termination.CANCELED, "first")
    world.watch.end(Termination.SHUTDOWN, "second")
    assert world.go(2.0).detail == "first"


@pytest.mark.parametrize(
    ("goal", "told"),
    [((" ", 0.0, 0.0), "empty"), (("a", -1.0, 0.0), "timeout_s is -1"), (("a", 0.0, math.nan), "rest_s is nan"),
     (("a", math.inf, 0.0), "timeout_s is inf"), (("a", 1.0, 1.0), "")],
)  # fmt: skip
def test_a_goal_that_cannot_be_used_is_named(goal, told):
    assert (told in problems_of(*goal)) if told else problems_of(*goal) == ""


@pytest.mark.parametrize("kind", [Termination, EpisodeOutcome])
def test_the_numbers_are_those_of_the_message(kind):
    names = kind.__members__
    assert {name: getattr(Episode, name) for name in names} == {name: int(kind[name]) for name in names}
