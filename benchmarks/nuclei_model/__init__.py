"""The recipe of the StarDist model that ships as ``stardist:nuclei``: split, training, scores."""
