"""One ingest path: the same messages over rclpy and out of a bag give the policy the same inputs, bit for bit."""

import dataclasses

import cv2
import numpy as np
import pytest
from rclpy.serialization import deserialize_message
from replaying import FakePolicy, make_setup, run
from sensor_msgs.msg import CompressedImage, Image, JointState
from simulated_bag import INSTRUCTION, START_NS, Event, header, message, types, write_bag

from smolvla_ros.policy import setup as policy_setup
from smolvla_ros.policy.questions import Question
from smolvla_ros.robot.images import BYTES_PER_PIXEL
from smolvla_ros.robot.observation import ObservationBuffer

HEIGHT, WIDTH, PADDING = 12, 16, 8
LIVE = {"sensor_msgs/msg/Image": Image, "sensor_msgs/msg/CompressedImage": CompressedImage,
        "sensor_msgs/msg/JointState": JointState}  # fmt: skip
ORDERS = {
    "as in the config": [0, 1, 2, 3, 4, 5],
    "the other way round": [5, 4, 3, 2, 1, 0],
    "with others between": [3, -1, 0, 5, -2, 1, 4, 2],
}


def raw(encoding, big_endian, camera):
    step = WIDTH * BYTES_PER_PIXEL[encoding] + PADDING
    data = np.random.default_rng(len(camera)).integers(0, 256, HEIGHT * step, dtype=np.uint8)
    return message("sensor_msgs/msg/Image", header=header(START_NS, camera), height=HEIGHT, width=WIDTH,
                   encoding=encoding, is_bigendian=big_endian, step=step, data=data)  # fmt: skip


def compressed(extension, camera):
    picture = np.random.default_rng(len(camera)).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    _, data = cv2.imencode(extension, picture)
    return message("sensor_msgs/msg/CompressedImage", header=header(START_NS, camera), format=extension[1:],
                   data=data.reshape(-1))  # fmt: skip


def joints(order):
    names = make_setup(FakePolicy()).robot.joint_names
    positions = np.random.default_rng(3).uniform(-1, 1, len(names))
    pairs = [(names[place], positions[place]) if place >= 0 else (f"other{place}", 9.9) for place in order]
    names, values = [name for name, _ in pairs], np.array([value for _, value in pairs])
    return message("sensor_msgs/msg/JointState", header=header(START_NS), name=names, position=values,
                   velocity=np.empty(0), effort=np.empty(0))  # fmt: skip


def live_inputs(images, joint_state):
    """What the policy is given when rclpy hands these messages to the node."""
    fake = FakePolicy()
    setup = make_setup(fake)
    buffer = ObservationBuffer(["front", "wrist"], setup.robot.joint_names, policy_setup.freshness(setup.parameters))
    for camera, image in images.items():
        buffer.put_image(camera, received(image), START_NS + 10**6)
    buffer.put_joint_state(received(joint_state), START_NS + 10**6)
    observation, problem = buffer.take(START_NS + 2 * 10**6)
    assert problem == ""
    pictures, problem = buffer.decode(observation)
    assert problem == ""
    predictor = policy_setup.predictor(setup.parameters, fake, setup.robot)
    predictor.predict([predictor.prepare(Question("", observation, pictures, INSTRUCTION, None))])
    return fake.calls[0]


def received(content):
    return deserialize_message(types().serialise(content), LIVE[content.__msgtype__])


def bag_inputs(folder, images, joint_state):
    """The same, when they are in a bag."""
    fake = FakePolicy()
    suffix = "/compressed" if "Compressed" in images["front"].__msgtype__ else ""
    told = [Event("/instruction", START_NS - 10**6, message("std_msgs/msg/String", data=INSTRUCTION))]
    told += [Event(f"/{name}/image_raw{suffix}", START_NS + 10**6, image) for name, image in images.items()]
    told += [Event("/joint_states", START_NS + 10**6, joint_state)]
    end = dataclasses.replace(told[0], log_ns=START_NS + 40 * 10**6)
    write_bag(folder, [*told, end])
    run(folder, fake)
    return fake.calls[0]


def assert_same(live, replayed):
    assert live.images.keys() == replayed.images.keys()
    for feature, image in live.images.items():
        assert image.dtype == replayed.images[feature].dtype == np.uint8
        np.testing.assert_array_equal(image, replayed.images[feature])
    assert live.state.dtype == replayed.state.dtype
    assert live.state.tobytes() == replayed.state.tobytes()
    assert live.noise.tobytes() == replayed.noise.tobytes()
    assert live.text == replayed.text


@pytest.mark.parametrize(
    ("encoding", "big_endian"), [(name, end) for name in BYTES_PER_PIXEL for end in ((0, 1) if "16" in name else (0,))]
)
def test_raw_images_of_every_encoding(tmp_path, encoding, big_endian):
    images = {camera: raw(encoding, big_endian, camera) for camera in ("front", "wrist")}
    state = joints(ORDERS["as in the config"])
    assert_same(live_inputs(images, state), bag_inputs(tmp_path / "bag", images, state))


@pytest.mark.parametrize("extension", [".jpg", ".png"])
def test_compressed_images(tmp_path, extension):
    images = {camera: compressed(extension, camera) for camera in ("front", "wrist")}
    state = joints(ORDERS["as in the config"])
    assert_same(live_inputs(images, state), bag_inputs(tmp_path / "bag", images, state))


@pytest.mark.parametrize("order", ORDERS)
def test_joints_in_any_order(tmp_path, order):
    images = {camera: raw("rgb8", 0, camera) for camera in ("front", "wrist")}
    state = joints(ORDERS[order])
    assert_same(live_inputs(images, state), bag_inputs(tmp_path / "bag", images, state))
