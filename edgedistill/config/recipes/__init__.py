"""Recipes that ship: each headed by its command, hardware and measured result."""
