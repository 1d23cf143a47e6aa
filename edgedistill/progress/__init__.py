"""What long work tells people and scripts."""
