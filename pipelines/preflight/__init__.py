"""Checks before anything is spent: one small function each, in the file of what it looks at."""
