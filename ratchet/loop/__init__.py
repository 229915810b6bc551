"""Continuous training: what production has said, when that is a reason to train, and on which rows."""
