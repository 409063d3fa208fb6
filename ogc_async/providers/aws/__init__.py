"""Amazon EC2, and the part of SSM that names images."""
