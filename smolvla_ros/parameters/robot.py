"""The robot: cameras and joints. Shared by the policy node, the controller node and the tools."""

from .table import Parameter

PARAMETERS = (
    Parameter("cameras", [], "Names of the cameras that the policy looks through, in any order."),
    Parameter(
        "camera.<camera>.feature",
        "",
        "Image feature of the checkpoint that this camera feeds; a camera without one "
        "feeds 'observation.images.' and its name.",
    ),
    Parameter(
        "camera.<camera>.topic",
        "",
        "Image topic; '<camera>/image_raw' if left empty ('<camera>/image_raw/compressed' if compressed).",
    ),
    Parameter("camera.<camera>.transport", "raw", "Type of the image messages.", choices=("raw", "compressed")),
    Parameter(
        "joints", [], "Names of the robot's joints, in the order of the checkpoint's state and action.", required=True
    ),
    Parameter(
        "joint.<joint>.feature",
        "",
        "Name of this joint in the checkpoint, checked where the checkpoint has names; empty: not checked.",
    ),
    Parameter(
        "joint.<joint>.scale",
        1.0,
        "Checkpoint value = scale * ROS value + offset; the ROS value is in rad or m. Not zero.",
    ),
    Parameter("joint.<joint>.offset", 0.0, "See scale; in the checkpoint's unit."),
)
