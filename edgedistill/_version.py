"""The version; hatchling reads it here."""

__version__ = "0.1.0"
