"""Reports for people, drawn by Evidently, and the two files of record."""
