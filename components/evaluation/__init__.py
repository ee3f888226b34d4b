"""Evaluation: benchmarks put to a model, its answers judged, and the scores with their uncertainty."""
