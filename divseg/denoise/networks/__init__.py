"""Networks: variational autoencoders of two kinds, flat and hierarchical, and their common base."""
