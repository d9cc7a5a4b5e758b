"""The whole stack on an emulated servo bus: policy, controller, driver and the servos' own protocol."""

from smolvla_ros.sim.tasks import Asked


def test_the_arm_touches_the_cube_that_is_named_through_the_serial_protocol(start, operator):
    arm = start("arm", "--bus", "emulated")
    arm.wait_for_output("ready: policy_node, controller_node, sim_node, so101_node")
    for seed, colour in ((1_000_000_001, "red"), (1_000_000_004, "blue")):  # the second after a loss of power
        operator.say("")
        operator.reset_simulation(seed, Asked("touch", colour))
        operator.say(f"go to the {colour} cube")
        assert operator.wait_for_verdict(20).touched == colour, arm.output
    assert "command refused" not in arm.output and "2 publishers" not in arm.output
