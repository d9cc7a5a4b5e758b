"""The parameters of the simulated arm name what the simulation has."""

from smolvla_ros.parameters.sim import SimParameters
from smolvla_ros.sim.task import COLOURS


def test_a_target_can_be_every_colour_of_the_scene_and_nothing_else():
    (target,) = (parameter for parameter in SimParameters.declared() if parameter.name == "target")
    assert target.choices == COLOURS
