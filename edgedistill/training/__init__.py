"""The one training loop: batches, views, schedule, checkpoints, divergence."""
