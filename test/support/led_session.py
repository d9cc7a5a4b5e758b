"""A session of the SO-101 as a bag and as datasets: pictures for it, and what its topics and the datasets hold."""

import numpy as np
import pandas as pd
from sensor_msgs.msg import Image

from smolvla_ros.bags.reader import open_bag
from smolvla_ros.cli.main import main
from smolvla_ros.drivers.calibration import JOINTS

SCALE = np.array([57.29577951308232] * 5 + [52.083333333333336])  # of config/so101_sim.yaml: degrees, gripper 0 to 100
OFFSET = np.array([0.0] * 5 + [9.114583333333334])


def show_pictures(client):
    """Both cameras, at 20 Hz."""
    publishers = [client.node.create_publisher(Image, f"{name}/image_raw", 1) for name in ("front", "wrist")]
    picture = Image(height=32, width=32, encoding="rgb8", step=96, data=bytes(range(256)) * 12)

    def show():
        picture.header.stamp = client.node.get_clock().now().to_msg()
        for publisher in publishers:
            publisher.publish(picture)

    client.node.create_timer(0.05, show)


def exported(bag, out, interventions):
    """The frames of a dataset of this bag, and its tasks."""
    options = ["--robot", "so101_sim", "--codec", "h264", "--min-length", "0.3", "--allow-partial"]
    assert main(["export", str(bag), "--out", str(out), "--interventions", interventions, *options]) == 0
    tables = [pd.read_parquet(file) for file in sorted((out / "data").rglob("*.parquet"))]
    return pd.concat(tables), list(pd.read_parquet(out / "meta" / "tasks.parquet").index)


def recorded(bag, topic):
    """[messages, joints] of a topic with joints, in the checkpoint's units."""
    with open_bag(bag) as opened:
        messages = [one.message for one in opened.read([topic])]
    rows = [[dict(zip(m.name, m.position, strict=True))[joint] for joint in JOINTS] for m in messages]
    return np.array(rows) * SCALE + OFFSET


def from_topic(values, rows):
    """Whether every frame's values are those of a message."""
    return all(np.isclose(rows, value, atol=1e-3).all(axis=1).any() for value in values)
