"""Drivers for arms that have none under ROS: the servo bus of the SO-100 and SO-101.

`calibration` reads what LeRobot's calibration wrote, `servo_bus` speaks to the servos by Feetech's library, `so101`
decides when the arm may be torqued and moved, and `servo_emulator` is a bus of servos without an arm. None knows ROS.
"""
