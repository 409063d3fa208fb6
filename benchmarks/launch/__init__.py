"""Launching a fleet on a pretend EC2 that keeps the published request limits: ours, and what people would use."""
