"""The claim, measured: the consensus of posterior samples segments better than noisy, smoothed and MMSE images.

    python -m benchmarks.segmentation --data DIR --out DIR [--sets ...] [--noise ...] [--segmenters ...] [--minutes ...]

From images to table in one command: models are trained or taken from the cache, every input's segmenter is tuned on the
tuning part, the scored part is scored, and `table.md` and `plots/` are written. It can be interrupted: run it again and
it goes on where it was. Results are reused if the settings, the weights and the candidates are the same, whatever the
code: after a change of fusion or metrics give another --out, with the same --models.
"""
