"""SmolVLA, a vision-language-action policy, for ROS 2."""
