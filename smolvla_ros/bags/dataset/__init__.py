"""Recorded episodes as a LeRobotDataset v3.0: cut, resampled on a uniform clock, written with videos and statistics."""
