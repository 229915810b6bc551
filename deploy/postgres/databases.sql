-- POSTGRES_DB makes the first, Ratchet's own store. MLflow and Optuna migrate theirs by themselves.
CREATE DATABASE mlflow;
CREATE DATABASE studies;
