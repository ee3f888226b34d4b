"""The DAG, its recipes, and the verbs around it."""
