"""Gives the MLflow server the user that the pipeline logs in as. Environment: see user.yaml."""

import os

from mlflow.exceptions import MlflowException
from mlflow.server import get_app_client

client = get_app_client("basic-auth", tracking_uri=os.environ["MLFLOW_TRACKING_URI"])
name, password = os.environ["PIPELINE_USERNAME"], os.environ["PIPELINE_PASSWORD"]
try:
    client.create_user(name, password)
    print(f"user {name} added")
except MlflowException as error:
    if error.error_code != "RESOURCE_ALREADY_EXISTS":
        raise
    client.update_user_password(name, password)
    print(f"password of user {name} set")
