"""Classify images, folders and cameras."""
