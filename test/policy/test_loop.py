"""The inference loop with a fake policy and driven time: when it infers, what it publishes, what it says."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from one_by_one import AnswersOneByOne

from smolvla_ros.parameters.robot import RobotParameters
from smolvla_ros.policy.asker import Asker
from smolvla_ros.policy.loop import InferenceLoop
from smolvla_ros.policy.loop_types import LoopClocks, LoopSettings, LoopState
from smolvla_ros.policy.predictor import Predictor
from smolvla_ros.policy.requests import ExecutionView, RequestPolicy
from smolvla_ros.robot import RobotConfig
from smolvla_ros.robot.observation import Freshness, ObservationBuffer

START_NS = 10**18
SESSION = 77
ROWS = 10
STEP_S = 0.1

ROBOT = RobotConfig.from_parameters(
    RobotParameters.from_values({"cameras": ["front"], "joints": ["a", "b"], "joint.a.scale": 2.0})
)


def header(stamp_ns):
    return SimpleNamespace(stamp=SimpleNamespace(sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9))


class FakePolicy(AnswersOneByOne):
    """Returns the state it was given in every row; raises or does something else on demand."""

    def __init__(self):
        self.calls = []
        self.guidance = []
        self.during = lambda: None

    def predict(self, images, state, instruction, noise=None, guidance=None):
        self.calls.append((images, state, instruction, noise))
        self.guidance.append(guidance)
        self.during()
        rows = np.arange(ROWS, dtype=np.float32)[:, None] * np.ones(2, np.float32)
        return SimpleNamespace(actions=np.tile(state, (ROWS, 1)), normalised=rows, stage_s={"vision": 0.1})

    def normalised_state(self, state):
        return state


class Rig:
    def __init__(self, requests=None, guide=None, **settings):
        self.now_ns = START_NS
        self.steady_s = 100.0
        self.policy = FakePolicy()
        self.chunks, self.reports = [], []
        freshness = Freshness(10**8, 10**8, 0, 0, False)
        self.buffer = ObservationBuffer(["front"], ["a", "b"], freshness)
        defaults = {
            "session": SESSION,
            "step_s": STEP_S,
            "needs_status": True,
            "min_change": 0.0,
            "hold_and_go": True,
            "delay_percentile": 50.0 if guide else None,
            "retry_backoff_s": 0.5,
            "max_failures": 3,
        }
        clocks = LoopClocks(lambda: self.now_ns, lambda: self.steady_s)
        source = Predictor(self.policy, ROBOT, rows=ROWS, noise_shape=(ROWS, 32), seed=0, guide=guide)
        self.asker = Asker(
            "",
            source,
            self.buffer,
            requests or RequestPolicy("threshold", 0.5),
            LoopSettings(**{**defaults, **settings}),
            clocks,
            publish=self.chunks.append,
            report=lambda state, text: self.reports.append((state, text)),
        )
        self.loop = InferenceLoop(source, [self.asker], clocks)

    def see(self, positions=(0.5, 0.25)):
        pixels = SimpleNamespace(
            header=header(self.now_ns - 10**7), height=1, width=1, encoding="bgr8", is_bigendian=0, step=3,
            data=bytes([3, 2, 1]),
        )  # fmt: skip
        joints = SimpleNamespace(header=header(self.now_ns), name=["a", "b"], position=list(positions))
        self.buffer.put_image("front", pixels, self.now_ns)
        self.buffer.put_joint_state(joints, self.now_ns)

    def execution(self, remaining=0, executed=0, session=SESSION, sequence=0, accepts=True):
        following = remaining > 0
        left_s = remaining * STEP_S
        self.asker.set_status(
            ExecutionView(self.now_ns, accepts, following, session, sequence, remaining, left_s, executed)
        )

    def step(self, advance_s=1.0, positions=(0.5, 0.25)):
        self.now_ns += int(advance_s * 1e9)
        self.steady_s += advance_s
        self.see(positions)
        self.loop.step()


@pytest.fixture
def rig():
    ready = Rig()
    ready.asker.set_instruction("touch the red cube")
    ready.execution()
    return ready


def test_a_chunk_carries_the_stamps_of_its_state_and_image_the_instruction_and_positions_in_ros_units(rig):
    rig.step()
    (chunk,) = rig.chunks
    assert (chunk.stamp_ns, chunk.image_stamp_ns) == (rig.now_ns, rig.now_ns - 10**7)
    assert chunk.sequence == 1
    assert (chunk.instruction.text, chunk.instruction.id) == ("touch the red cube", 1)
    np.testing.assert_allclose(chunk.positions, np.tile([0.5, 0.25], (ROWS, 1)))
    assert chunk.latency_s == pytest.approx(0.0)


def test_the_policy_sees_rgb_images_by_feature_and_the_state_in_its_own_units(rig):
    rig.step()
    images, state, instruction, noise = rig.policy.calls[0]
    assert images["observation.images.front"].tolist() == [[[1, 2, 3]]]
    np.testing.assert_allclose(state, [1.0, 0.25])
    assert state.dtype == np.float32 and noise.shape == (ROWS, 32)


def test_seconds_of_broken_pictures_are_refused_images_and_no_failures_and_the_next_good_one_is_used(rig):
    broken = cv2.imencode(".jpg", np.zeros((64, 64, 3), np.uint8))[1].tobytes().replace(b"\xff\xc4", b"\xff\xc8", 1)
    for _ in range(150):
        rig.now_ns += 33_000_000
        rig.steady_s += 0.033
        rig.see()
        image = SimpleNamespace(header=header(rig.now_ns), format="jpeg", data=broken)
        rig.buffer.put_image("front", image, rig.now_ns)
        rig.loop.step()
    assert rig.policy.calls == [] and rig.buffer.refused()["front"] == {"broken": 150}
    (told,) = rig.reports
    assert told[0] is LoopState.WAITING and "no image from camera 'front' can be used: compressed image of" in told[1]
    rig.step(0.033)
    assert len(rig.chunks) == 1 and rig.asker.state[0] is LoopState.RUNNING


def test_without_an_instruction_nothing_is_inferred():
    rig = Rig()
    rig.execution()
    rig.step()
    assert rig.policy.calls == []
    assert rig.reports == [(LoopState.IDLE, "no instruction (publish one on topic 'instruction')")]


def test_without_a_controller_nothing_is_inferred_unless_the_rule_needs_none():
    rig = Rig()
    rig.asker.set_instruction("go")
    rig.step()
    assert rig.chunks == [] and "execution_status" in rig.reports[-1][1]
    free = Rig(RequestPolicy("continuous"), needs_status=False)
    free.asker.set_instruction("go")
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
    waits = [text for state, text in rig.reports if state is LoopState.WAITING]
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
    rig.asker.set_instruction("touch the blue cube")
    rig.step()
    assert [chunk.instruction.id for chunk in rig.chunks] == [1, 2]


def test_the_same_instruction_again_changes_nothing(rig):
    rig.step()
    rig.execution(remaining=ROWS, sequence=1)
    rig.asker.set_instruction("touch the red cube")
    rig.step()
    assert len(rig.chunks) == 1


def test_an_instruction_withdrawn_during_inference_drops_its_chunk(rig):
    rig.policy.during = lambda: rig.asker.set_instruction("")
    rig.step()
    assert len(rig.policy.calls) == 1 and rig.chunks == []


def test_a_clock_jump_during_inference_drops_its_chunk(rig):
    rig.policy.during = rig.asker.forget
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
    assert state is LoopState.FAILING and type(error).__name__ in text
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
    assert rig.reports[-1] == (LoopState.GIVEN_UP, "inference failed 3 times in a row: RuntimeError: broken")


def test_actions_that_are_not_finite_are_a_failure_and_no_chunk(rig):
    rig.policy.predict = lambda *args, **kwargs: SimpleNamespace(actions=np.full((ROWS, 2), np.nan), stage_s={})
    rig.step()
    assert rig.chunks == [] and rig.reports[-1][0] is LoopState.FAILING


def test_equal_seeds_give_equal_noise():
    noises = []
    for _ in range(2):
        rig = Rig()
        rig.asker.set_instruction("go")
        rig.execution()
        rig.step()
        noises.append(rig.policy.calls[0][3])
    np.testing.assert_array_equal(*noises)


def late(rig, seconds):
    def during():
        rig.now_ns += int(seconds * 1e9)
        rig.steady_s += seconds

    return during


def test_a_policy_slower_than_half_a_chunk_says_so_with_figures_and_waits_until_the_arm_holds(rig):
    rig.policy.during = late(rig, 0.6)
    rig.step()
    rig.execution(remaining=4, executed=6, sequence=1)  # below the threshold of 0.5
    rig.step()
    assert len(rig.chunks) == 1
    rig.execution(remaining=0, executed=10, sequence=1)
    rig.step()
    assert len(rig.chunks) == 2
    state, text = rig.reports[-1]
    assert state is LoopState.TOO_SLOW and "600 ms" in text and "1000 ms" in text and "holds, looks and goes" in text


def test_a_slow_policy_that_is_only_to_warn_keeps_to_its_rule():
    rig = Rig(hold_and_go=False)
    rig.asker.set_instruction("go")
    rig.execution()
    rig.policy.during = late(rig, 0.6)
    rig.step()
    rig.execution(remaining=4, executed=6, sequence=1)
    rig.step()
    assert len(rig.chunks) == 2 and rig.reports[-1][0] is LoopState.TOO_SLOW


def test_one_slow_call_among_fast_ones_changes_nothing(rig):
    for count, seconds in enumerate((0.1, 0.1, 3.0, 0.1), start=1):
        rig.policy.during = late(rig, seconds)
        rig.step()
        rig.execution(remaining=4, executed=6 * count, sequence=count)
    assert len(rig.chunks) == 4
    assert LoopState.TOO_SLOW not in [state for state, _ in rig.reports]


def test_the_observation_filter_skips_equal_states_but_never_an_empty_queue_or_a_new_instruction():
    rig = Rig(min_change=0.1)
    rig.asker.set_instruction("go")
    rig.execution()
    rig.step()
    rig.execution(remaining=4, executed=6, sequence=1)
    rig.step()
    assert len(rig.chunks) == 1
    rig.step(positions=(0.7, 0.25))
    assert len(rig.chunks) == 2
    rig.execution(remaining=4, executed=12, sequence=2)
    rig.asker.set_instruction("go on")
    rig.step(positions=(0.7, 0.25))
    assert len(rig.chunks) == 3
    rig.execution(remaining=0, executed=16, sequence=3)
    rig.step(positions=(0.7, 0.25))
    assert len(rig.chunks) == 4


def test_a_chunk_continues_what_the_controller_executes_from_the_observation_on():
    rig = Rig(guide=lambda continuation: continuation)
    rig.asker.set_instruction("go")
    rig.execution()
    rig.policy.during = late(rig, 0.2)
    rig.step()
    assert rig.policy.guidance == [None] and rig.chunks[0].frozen_rows == 0
    rig.execution(remaining=4, executed=6, sequence=1)
    rig.step(0.1)  # one row further than the status; that the image is older moves nothing
    rows, delay = rig.policy.guidance[1]
    np.testing.assert_allclose(rows[:, 0], [7, 8, 9])
    assert delay == 2 and rig.chunks[1].frozen_rows == 2


def test_a_chunk_continues_nothing_while_the_arm_holds_or_executes_another_session():
    for report in ({"remaining": 0, "sequence": 1}, {"remaining": 4, "sequence": 1, "session": SESSION + 1}):
        rig = Rig(RequestPolicy("continuous"), guide=lambda continuation: continuation)
        rig.asker.set_instruction("go")
        rig.execution()
        rig.step()
        rig.execution(**report)
        rig.step()
        assert rig.policy.guidance == [None, None]


def test_a_synchronous_policy_answers_a_new_instruction_when_its_chunk_is_done():
    rig = Rig(RequestPolicy("synchronous"))
    rig.asker.set_instruction("go")
    rig.execution()
    rig.step()
    rig.execution(remaining=1, executed=9, sequence=1)
    rig.asker.set_instruction("stop")
    rig.step()
    assert len(rig.chunks) == 1
    rig.execution(remaining=0, executed=10, sequence=1)
    rig.step()
    assert rig.chunks[1].instruction.text == "stop"


def test_stages_are_measured_for_every_chunk(rig):
    rig.step()
    stages = {"transport", "wait", "decode", "vision", "inference", "publish", "total", "latency"}
    assert stages <= rig.asker.latency_percentiles(50).keys()


def test_the_thread_ends_when_told_to():
    rig = Rig()
    rig.loop.start()
    assert rig.loop.stop(timeout_s=5.0)
