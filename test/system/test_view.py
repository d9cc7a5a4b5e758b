"""The live view in a browser, beside the simulated arm: what a person types and presses reaches the arm and is seen."""

import re
import shutil

import numpy as np
import pytest
from playwright.sync_api import expect, sync_playwright
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import JointState

from smolvla_ros.execution.status import ControllerState

CHROMIUM = shutil.which("chromium")
# Software WebGL beside a policy leaves the page little: waits are generous, nothing is timed.
PATIENCE_MS = 60_000
MOVED_RAD = 0.05
STILL_RAD = 0.002

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs the browser chromium, as .ci/run installs it")


@pytest.fixture
def page():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--enable-unsafe-swiftshader"]
        )
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.set_default_timeout(PATIENCE_MS)
        expect.set_options(timeout=PATIENCE_MS)
        yield page
        browser.close()


def joints_of(operator):
    """The newest joint positions, as a function."""
    heard = []
    operator.node.create_subscription(JointState, "joint_states", heard.append, qos_profile_sensor_data)
    operator.wait_for(lambda: heard, 60.0)
    return lambda: np.array(heard[-1].position)


def wait_for_motion(operator, joints, before):
    """`before` is older than what moves the arm: a slow page may show that only when the arm is there."""
    assert operator.wait_for(lambda: np.abs(joints() - before).max() > MOVED_RAD, 60.0), "the arm does not move"


def holds_still(operator, joints):
    """Whether the arm comes to rest, stopped, and then stays."""
    operator.wait_for(lambda: operator.status.state == ControllerState.STOPPED, 60.0)
    operator.pause(1.0)
    before = joints()
    operator.pause(2.0)
    return operator.status.state == ControllerState.STOPPED and np.abs(joints() - before).max() < STILL_RAD


def say(page, text):
    box = page.locator("input:visible").first
    box.fill("")
    box.press_sequentially(text)
    box.press("Enter")


# A page drawn by software beside a policy, on two cores: it fails now and then, for a cause that was not found yet.
@pytest.mark.flaky(reruns=3)
def test_typed_instructions_move_the_arm_and_stop_holds_it(start, operator, page):
    arm = start("arm")
    arm.wait_for_output("ready: ")
    view = start("view", "--port", "0")
    view.wait_for_output("view: ")
    page.goto(re.search(r"view: (\S+)", view.output)[1])
    banner = page.get_by_role("status")
    expect(banner).to_contain_text("HOLDING")
    joints = joints_of(operator)

    before = joints()
    say(page, "touch the yellow cube")  # its spaces stop nothing
    expect(page.get_by_text("“touch the yellow cube”")).to_be_visible()
    wait_for_motion(operator, joints, before)
    assert not any(status.state == ControllerState.STOPPED for status in operator.statuses)

    page.get_by_role("button", name="Stop").click()
    expect(banner).to_contain_text("STOPPED")
    assert holds_still(operator, joints)

    before = joints()
    say(page, "touch the blue cube")
    page.get_by_role("button", name="Resume").click()
    wait_for_motion(operator, joints, before)
    page.keyboard.press("Space")  # with the focus on Resume, which a space presses in any other page
    expect(banner).to_contain_text("STOPPED")
    assert holds_still(operator, joints)
