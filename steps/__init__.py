"""Steps: thin places where ZenML and MLflow meet the library."""
