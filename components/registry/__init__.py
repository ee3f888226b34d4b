"""The last stage: the trained model becomes a registered version with its lineage, its results and its card."""
