"""Writing a bag: what belongs into it, the file however it ends, and the account of what was lost."""
