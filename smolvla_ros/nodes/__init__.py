"""ROS 2 nodes: wiring between topics and the pure packages. Nothing else imports from here."""
