"""Bundles and the machines they go to."""
