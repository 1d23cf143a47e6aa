"""Metrics of classification and embeddings, with their intervals."""
