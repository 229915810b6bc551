"""ZenML steps: each reads its inputs, calls the library, logs and returns."""
