"""Feedback on predictions: the table, its rules, the requests, and the links for people."""
