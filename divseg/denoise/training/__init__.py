"""Training: data, crops, loss, schedule, checkpoints."""
