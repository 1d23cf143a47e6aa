"""report.json from the artifacts, and one self-contained page of it."""
