"""Deploying to a fleet of real OpenSSH servers: ours, and what people would use."""
