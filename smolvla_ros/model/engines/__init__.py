"""What runs the network: arithmetic and libraries chosen for the machine; engines behind `vision -> prefix -> step`."""
