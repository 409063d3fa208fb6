"""Measurements of the product against a sandbox in a process of its own."""
