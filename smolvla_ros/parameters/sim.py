"""The simulated arm: the task, rates and sizes of what it publishes, the clock."""

from smolvla_ros.sim.task import COLOURS

from .table import Parameter

PARAMETERS = (
    Parameter("seed", 0, "Decides where the cubes lie and how the scene looks, from the next ~/reset on.",
              minimum=0, maximum=2**62, live=True),
    Parameter("target", COLOURS[0], "Colour of the cube whose touch is the task. A change starts a new task in the "
              "same scene.", choices=COLOURS, live=True),
    Parameter("joint_states_rate_hz", 100.0, "Rate of joint_states.", "Hz", 1.0, 200.0),
    Parameter("camera_rate_hz", 20.0, "Rate of each camera.", "Hz", 0.5, 100.0),
    Parameter("image_width", 96, "Width of the cameras' images.", "px", 16, 1920),
    Parameter("image_height", 96, "Height of the cameras' images.", "px", 16, 1080),
    Parameter("viewer_rate_hz", 10.0, "Rate of viewer/image_raw, a picture for people; rendered only while somebody "
              "subscribes.", "Hz", 0.5, 60.0),
    Parameter("viewer_width", 480, "Width of the viewer's images.", "px", 16, 1920),
    Parameter("viewer_height", 360, "Height of the viewer's images.", "px", 16, 1080),
    Parameter("viewer_shadows", False, "Shadows and smooth edges for the viewer; without a GPU thirty times slower."),
    Parameter("publish_clock", False, "Publish /clock, and stamp everything with that time; for nodes with "
              "use_sim_time."),
    Parameter("real_time_factor", 1.0, "Simulated seconds per second. Other than 1 only makes sense with "
              "publish_clock.", minimum=0.05, maximum=10.0),
)  # fmt: skip
