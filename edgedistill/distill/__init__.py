"""Losses, cached teacher outputs, and the one training loop."""
