"""The first version of a robot's YAML, out of what is there: for `smolvla-ros init`.

`expected` is what a checkpoint or dataset asks for, `found` what runs on the robot (`listening` hears it); `matching`
and `units` bring both together and ask for what neither tells, `writing` makes the file. Only `listening` knows ROS.
"""
