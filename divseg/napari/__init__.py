"""The plug-in for napari: run folders as layers, a run on a layer, and the review of uncertain objects.

The only room that knows napari and Qt. What it does is in modules that import neither (``layers``, ``corrections``,
``review``, ``layer_run``); the widgets show it.
"""
