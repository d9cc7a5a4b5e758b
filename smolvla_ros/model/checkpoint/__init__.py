"""Reading a LeRobot checkpoint folder, and refusing what would run wrong."""
