"""Ways of getting an answer from a model; each takes a batch of items and returns one reply per item."""
