"""The arm's shape and kinematics out of its URDF, by yourdfpy: where links, tool and camera frames are."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import numpy as np
import yourdfpy
from numpy.typing import NDArray

# Frames that are taken for the tool, in this order; else the last link of the longest chain.
_TOOL_FRAMES = ("tool", "tool0", "tcp", "gripper_frame_link", "ee_link", "flange")


class RobotModelError(ValueError):
    """The URDF cannot be used for the view; the text says why."""


class RobotModel:
    """One robot. Not locked: one thread owns an object.

    Args:
        urdf: the text of the description. Meshes that are not on this machine are left out.

    Raises:
        RobotModelError: the text is no robot description.
    """

    def __init__(self, urdf: str):
        try:
            self.urdf = yourdfpy.URDF.load(io.StringIO(urdf), load_meshes=True)
        except Exception as error:  # whatever lxml, trimesh and yourdfpy raise on texts from outside
            raise RobotModelError(f"robot_description cannot be shown: {error}") from error
        self.joints: tuple[str, ...] = tuple(self.urdf.actuated_joint_names)
        self._configuration = np.zeros(len(self.joints))
        links = set(self.urdf.link_map)
        self.base = str(self.urdf.base_link)
        self.tool = next((name for name in _TOOL_FRAMES if name in links), self._last_link())

    def move(self, positions: Mapping[str, float]) -> NDArray[np.float64]:
        """Takes joint positions by name [rad or m]; joints that are not named stay. Returns the configuration."""
        for place, name in enumerate(self.joints):
            self._configuration[place] = positions.get(name, self._configuration[place])
        return self._configuration

    def tool_path(self, joints: Sequence[str], rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Where the tool is [rows, 3] in m for `rows` [rows, joints] of positions."""
        places = [(self.joints.index(name), column) for column, name in enumerate(joints) if name in self.joints]
        configuration, path = self._configuration.copy(), np.empty((len(rows), 3))
        for index, row in enumerate(rows):
            for place, column in places:
                configuration[place] = row[column]
            self.urdf.update_cfg(configuration)
            path[index] = self.urdf.get_transform(self.tool)[:3, 3]
        self.urdf.update_cfg(self._configuration)
        return path

    def has_frame(self, name: str) -> bool:
        return name in self.urdf.link_map

    def frame(self, name: str) -> NDArray[np.float64]:
        """[4, 4] from the base to a link, at the configuration of the last `move`."""
        self.urdf.update_cfg(self._configuration)
        return np.asarray(self.urdf.get_transform(name))

    def _last_link(self) -> str:
        parents = {joint.child: joint.parent for joint in self.urdf.joint_map.values()}

        def depth(link: str) -> int:
            return 0 if link not in parents else 1 + depth(parents[link])

        return max(map(str, self.urdf.link_map), key=depth)
