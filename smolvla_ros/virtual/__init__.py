"""Policy and controller in virtual time: the nodes' own inference loop and controller on a clock that somebody drives.

The one harness for benchmarks, replays of bags, evaluation in the simulation and tests. Nothing here sleeps, and
nothing depends on the speed of the machine. Knows no ROS, no torch and no simulator.
"""
