"""The live view: what the cameras see, where the arm is and is going, why it holds; an instruction, stop and resume.

`watched` keeps what was heard, `words` says it, `robot_model` knows the arm's shape, `page` shows it in a browser and
`gate` asks for a token where the view is reached over the network. Only `nodes.view_node` knows ROS.
"""
