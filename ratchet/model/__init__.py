"""Models: tasks, embedding, training, evaluation, and the package that a version is stored in."""
