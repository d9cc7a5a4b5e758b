"""What a policy would have done in a recorded session: the replay, its comparison with the robot, its results."""
