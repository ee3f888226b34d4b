"""Talking to a model in the terminal, to see what it has learned."""
