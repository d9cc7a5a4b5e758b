"""From chunks of actions to motion: timeline, merge rules, interpolation, limits, state machine, metrics.

Pure: numpy and scipy only, time is an argument, units are rad, m and s. Nothing here knows ROS or torch.
"""
