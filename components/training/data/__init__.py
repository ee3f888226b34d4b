"""Training data: every sample is a pure function of (seed, index), the same for any layout and restart."""
