"""Ways to read a source that is not a file on this machine."""
