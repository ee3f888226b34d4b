"""MLflow: the runs of an experiment, what a run was submitted from, and the model registry. Nothing else imports it.

On a cluster whose KFP backend provides MLFLOW_* variables those win over the recipe (KFP 2.17's MLflow plugin sets
them).
"""
