"""Gives the MLflow server the user that the pipeline logs in as. Environment: see user.yaml."""

import os

import requests

USERS = f"{os.environ['MLFLOW_TRACKING_URI']}/api/2.0/mlflow/users"
ADMIN = os.environ["MLFLOW_TRACKING_USERNAME"], os.environ["MLFLOW_TRACKING_PASSWORD"]
user = {"username": os.environ["PIPELINE_USERNAME"], "password": os.environ["PIPELINE_PASSWORD"]}

answer = requests.post(f"{USERS}/create", json=user, auth=ADMIN, timeout=60)
done = "added"
if "RESOURCE_ALREADY_EXISTS" in answer.text:
    answer = requests.patch(f"{USERS}/update-password", json=user, auth=ADMIN, timeout=60)
    done = "is there; its password is set"
answer.raise_for_status()
print(f"user {user['username']} {done}")
