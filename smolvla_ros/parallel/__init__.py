"""One function on many inputs: over processes of this machine, or as tasks of a Ray cluster. Knows nothing of bags."""
