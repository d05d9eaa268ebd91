"""Networks: what every variational autoencoder here promises, and the two kinds of them."""
