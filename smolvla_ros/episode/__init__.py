"""A run of the arm as a thing with an end: when it ends, and why. No ROS; time is an argument."""
