"""EC2 as its clients see it: the Query protocol over the machine room."""
