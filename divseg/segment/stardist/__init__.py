"""StarDist in torch: segmentation by star-convex polygons and polyhedra, from ordinary StarDist model folders.

The network runs in torch, in batches, on the device of the sampler; suppression of overlapping candidates and geometry
are StarDist's own compiled code, which needs no TensorFlow.
"""
