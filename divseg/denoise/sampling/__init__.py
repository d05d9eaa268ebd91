"""Drawing posterior samples: latent noise, tiles, batches, test-time augmentation, estimates from samples."""
