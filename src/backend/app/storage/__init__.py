"""Objects: their keys, and the stores that hold them."""
