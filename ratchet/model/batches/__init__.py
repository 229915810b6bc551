"""Training on a file that is larger than memory, batch by batch."""
