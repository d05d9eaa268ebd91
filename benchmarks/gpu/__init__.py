"""What a GPU gives: one script for a borrowed card, see ``python -m benchmarks.gpu --help``."""
