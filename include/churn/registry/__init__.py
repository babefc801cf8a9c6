"""MLflow: model versions, the files of runs and versions, and loading a model safely."""
