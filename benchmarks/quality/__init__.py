"""How good are the denoised images, and how honest the samples? Against the clean images, at equal training time.

    DIVSEG_DATA=... python -m benchmarks.quality --models MODELS [--minutes 10] [--threads 1] [--n2v FOLDER]
        [--sets dsb2018_fluo-n20 ...] [--variants learned known vanilla "flat;filters=16"] [--thousand 2] [--record]

scores the mean of the samples (MMSE) of every variant (:mod:`benchmarks.trained`; models are kept under MODELS)
beside the noisy image, the best Gaussian smoothing, non-local means, BM3D if it is installed, and N2V if
:mod:`benchmarks.n2v` has written its images to FOLDER. All networks are trained on all noisy images of a set and see
no clean one. For real noise the variant `known` holds the photon-transfer estimate. Every image and method is a row of
a CSV, by default MODELS/quality.csv: a run that was stopped goes on, and several runs with other sets add up.
"""
