"""Metrics of classes, embeddings and figures, with their intervals."""
