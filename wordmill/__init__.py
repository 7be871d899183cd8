"""Pure machine learning: text in, models and scores out. Knows no prefect, dvc or mlflow."""

__version__ = "0.1.0"
