"""Every set of the DivNoising paper, and every denoiser on it: one command a set.

    DIVSEG_DATA=... python -m benchmarks.denoising --list
    DIVSEG_DATA=... python -m benchmarks.denoising --set w2s_ch0 --out OUT [--minutes 1] [--methods ...] [--n2v FOLDER]
    python -m benchmarks.denoising --table --out OUT [--record]

The registry (:mod:`benchmarks.denoising.registry`) says of each set what it is, where it comes from, its licence, how
it is scored, and which files are expected where. A set whose files are absent or incomplete is not run, and the command
prints what is missing. Otherwise all methods are trained for so many minutes of processor time of one thread, and
scored image by image: rows go to OUT/SET.csv, pictures to OUT/pictures. What is there already is not done again.
``--table`` makes the tables of all sets that have rows.

Reference: Prakash, Krull, Jug, "Fully unsupervised diversity denoising with convolutional variational autoencoders",
ICLR 2021.
"""
