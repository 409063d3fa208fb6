"""The clouds: the border to them, the catalogue of images, and a room for each."""
