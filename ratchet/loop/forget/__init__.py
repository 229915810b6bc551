"""Removal of the features of a person's predictions from every place that Ratchet writes them to."""
