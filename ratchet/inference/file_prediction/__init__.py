"""Predict the rows of a file part by part, and write the predictions to another file."""
