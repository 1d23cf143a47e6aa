"""Latency and throughput of a bundle, alone and against another."""
