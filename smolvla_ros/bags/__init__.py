"""Recorded topics: reading bags, replaying them through the policy, recording, export. Knows no ROS and needs none."""
