"""Reports drawn by Evidently, and the record files."""
