"""The promotion gate: is a new version better than the one in use? The decision is an artifact, with its evidence."""
