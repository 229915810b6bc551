"""The package of a model: what it holds, how it is written, verified and loaded."""
