"""From observations to chunks: setting up the policy, asking it, and the loop of the inference thread. Knows no ROS.

The policy node runs this on live topics and `smolvla_ros.bags` on recorded ones, so both see the same.
"""
