"""Google Compute Engine, through its REST API."""
