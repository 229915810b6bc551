"""The prediction service: BentoML around the version in Production."""
