"""report.json, and one self-contained page of it."""
