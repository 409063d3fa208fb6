"""What runs on a node: its scripts, in order, as one folder."""
