"""Compute Engine as its clients see it: REST and operations over the machine room."""
