"""ZenML pipelines, and the code that runs them."""
