"""The inference loop with a fake policy and driven time: when it infers, what it publishes, what it says."""

from types import SimpleNamespace

import numpy as np
import pytest

from smolvla_ros.execution.requests import RequestPolicy
from smolvla_ros.nodes.inference import ExecutionView, InferenceLoop, Settings, State
from smolvla_ros.parameters import check_values, robot
from smolvla_ros.robot import RobotConfig
from smolvla_ros.robot.observation import Freshness, ObservationBuffer

START_NS = 10**18
SESSION = 77
ROWS = 10

ROBOT = RobotConfig.from_parameters(
    check_values(robot.PARAMETERS, {"cameras": ["front"], "joints": ["a", "b"], "joint.a.scale": 2.0})
)


class FakePolicy:
    """Returns the state it was given in every row; raises or does something else on demand."""

    def __init__(self):
        self.calls = []
        self.during = lambda: None

    def predict(self, images, state, instruction, noise=None):
        self.calls.append((images, state, instruction, noise))
        self.during()
        return SimpleNamespace(actions=np.tile(state, (ROWS, 1)), stage_s={"vision": 0.1})


class Rig:
    def __init__(self, requests=None, **settings):
        self.now_ns = START_NS
        self.steady_s = 100.0
        self.policy = FakePolicy()
        self.chunks, self.reports = [], []
        freshness = Freshness(10**8, 10**8, 0, 0, False)
        self.buffer = ObservationBuffer(["front"], ["a", "b"], freshness)
        defaults = {
            "session": SESSION,
            "rows": ROWS,
            "noise_shape": (ROWS, 32),
            "seed": 0,
            "needs_status": True,
            "retry_backoff_s": 0.5,
            "max_failures": 3,
        }
        self.loop = InferenceLoop(
            self.policy,
            ROBOT,
            self.buffer,
            requests or RequestPolicy("threshold", 0.5),
            Settings(**{**defaults, **settings}),
            clock_ns=lambda: self.now_ns,
            steady_s=lambda: self.steady_s,
            publish=self.chunks.append,
            report=lambda state, text: self.reports.append((state, text)),
        )

    def see(self):
        pixels = SimpleNamespace(height=1, width=1, encoding="bgr8", is_bigendian=0, step=3, data=bytes([3, 2, 1]))
        self.buffer.put_image("front", pixels, self.now_ns - 10**7, self.now_ns)
        self.buffer.put_joint_state(["a", "b"], [0.5, 0.25], self.now_ns, self.now_ns)

    def execution(self, remaining=0, executed=0, session=SESSION, sequence=0, accepts=True):
        self.loop.set_status(ExecutionView(accepts, session, sequence, remaining, executed))

    def step(self, advance_s=1.0):
        self.now_ns += int(advance_s * 1e9)
        self.steady_s += advance_s
        self.see()
        self.loop.step()


@pytest.fixture
def rig():
    ready = Rig()
    ready.loop.set_instruction("touch the red cube")
    ready.execution()
    return ready


def test_a_chunk_carries_the_stamp_of_its_image_the_instruction_and_positions_in_ros_units(rig):
    rig.step()
    (chunk,) = rig.chunks
    assert chunk.stamp_ns == rig.now_ns - 10**7
    assert chunk.sequence == 1
    assert (chunk.instruction.text, chunk.instruction.id) == ("touch the red cube", 1)
    np.testing.assert_allclose(chunk.positions, np.tile([0.5, 0.25], (ROWS, 1)))
    assert chunk.latency_s == pytest.approx(0.01)


def test_the_policy_sees_rgb_images_by_feature_and_the_state_in_its_own_units(rig):
    rig.step()
    images, state, instruction, noise = rig.policy.calls[0]
    assert images["observation.images.front"].tolist() == [[[1, 2, 3]]]
    np.testing.assert_allclose(state, [1.0, 0.25])
    assert state.dtype == np.float32 and noise.shape == (ROWS, 32)


def test_without_an_instruction_nothing_is_inferred():
    rig = Rig()
    rig.execution()
    rig.step()
    assert rig.policy.calls == []
    assert rig.reports == [(State.WAITING, "no instruction (publish one on topic 'instruction')")]


def test_without_a_controller_nothing_is_inferred_unless_the_rule_needs_none():
    rig = Rig()
    rig.loop.set_instruction("go")
    rig.step()
    assert rig.chunks == [] and "execution_status" in rig.reports[-1][1]
    free = Rig(RequestPolicy("continuous"), needs_status=False)
    free.loop.set_instruction("go")
    free.step()
    assert len(free.chunks) == 1


def test_a_stopped_controller_gets_no_chunks(rig):
    rig.execution(accepts=False)
    rig.step()
    assert rig.chunks == [] and "stopped" in rig.reports[-1][1]


def test_stale_data_are_named_once_and_not_acted_on(rig):
    rig.step()
    rig.execution(session=SESSION, sequence=1)
    for _ in range(3):
        rig.now_ns += 10**9
        rig.loop.step()
    assert len(rig.chunks) == 1
    waits = [text for state, text in rig.reports if state is State.WAITING]
    assert len(waits) == 1 and "camera 'front'" in waits[0]


@pytest.mark.parametrize("remaining, asks", [(6, False), (5, False), (4, True), (0, True)])
def test_the_next_chunk_is_asked_for_when_less_than_the_threshold_is_left(rig, remaining, asks):
    rig.step()
    rig.execution(remaining=remaining, executed=ROWS - remaining, sequence=1)
    rig.step()
    assert (len(rig.chunks) == 2) == asks


def test_one_chunk_at_a_time_is_on_its_way(rig):
    rig.step(0.01)
    rig.step(0.01)
    assert len(rig.chunks) == 1


def test_a_changed_instruction_is_acted_on_at_once_and_numbered(rig):
    rig.step()
    rig.execution(remaining=ROWS, sequence=1)
    rig.loop.set_instruction("touch the blue cube")
    rig.step()
    assert [chunk.instruction.id for chunk in rig.chunks] == [1, 2]


def test_the_same_instruction_again_changes_nothing(rig):
    rig.step()
    rig.execution(remaining=ROWS, sequence=1)
    rig.loop.set_instruction("touch the red cube")
    rig.step()
    assert len(rig.chunks) == 1


def test_an_instruction_withdrawn_during_inference_drops_its_chunk(rig):
    rig.policy.during = lambda: rig.loop.set_instruction("")
    rig.step()
    assert len(rig.policy.calls) == 1 and rig.chunks == []


def test_a_clock_jump_during_inference_drops_its_chunk(rig):
    rig.policy.during = rig.loop.forget
    rig.step()
    assert rig.chunks == []


def raises(error):
    def during():
        raise error

    return during


@pytest.mark.parametrize("error", [RuntimeError("broken"), MemoryError(), ValueError("camera")])
def test_a_failed_inference_is_reported_and_retried_after_the_backoff(rig, error):
    rig.policy.during = raises(error)
    rig.step()
    state, text = rig.reports[-1]
    assert state is State.FAILING and type(error).__name__ in text
    rig.policy.during = lambda: None
    rig.step(0.49)
    assert rig.chunks == []
    rig.step(0.02)
    assert len(rig.chunks) == 1


def test_after_too_many_failures_in_a_row_it_gives_up_with_its_reason(rig):
    rig.policy.during = raises(RuntimeError("broken"))
    for _ in range(6):
        rig.step()
    assert len(rig.policy.calls) == 3
    assert rig.reports[-1] == (State.GIVEN_UP, "inference failed 3 times in a row: RuntimeError: broken")


def test_actions_that_are_not_finite_are_a_failure_and_no_chunk(rig):
    rig.policy.predict = lambda images, state, instruction, noise=None: SimpleNamespace(
        actions=np.full((ROWS, 2), np.nan), stage_s={}
    )
    rig.step()
    assert rig.chunks == [] and rig.reports[-1][0] is State.FAILING


def test_equal_seeds_give_equal_noise():
    noises = []
    for _ in range(2):
        rig = Rig()
        rig.loop.set_instruction("go")
        rig.execution()
        rig.step()
        noises.append(rig.policy.calls[0][3])
    np.testing.assert_array_equal(*noises)


def test_stages_are_measured_for_every_chunk(rig):
    rig.step()
    assert {"transport", "wait", "decode", "vision", "inference", "total"} <= rig.loop.latency_percentiles(50).keys()


def test_the_thread_ends_when_told_to():
    rig = Rig()
    rig.loop.start()
    assert rig.loop.stop(timeout_s=5.0)
