"""The comparison of a model's configs."""
