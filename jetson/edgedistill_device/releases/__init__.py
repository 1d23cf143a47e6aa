"""Releases on a board: arrive, be verified, be switched to, go back."""
