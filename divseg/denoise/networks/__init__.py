"""Networks: what a latent-variable network promises, and the two kinds there are."""
