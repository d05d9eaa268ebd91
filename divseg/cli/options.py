"""Options that several commands share; each has the name of the setting it fills."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Axes = Annotated[
    str | None,
    typer.Option(help="Axes of the files where metadata does not tell, e.g. TYX.", show_default=False),
]
Channel = Annotated[
    int | None, typer.Option(help="Channel to work on, from 0, where files have several.", show_default=False)
]
Noise = Annotated[
    str | None,
    typer.Option(
        help="learned (default), estimated, gaussian[,std=20], poisson-gaussian[,a=2,b=-180], or the file of a "
        "noise model (.json, .npz; see noise-model).",
        show_default=False,
    ),
]
Preset = Annotated[
    str | None,
    typer.Option(
        help="Settings that go together: fast (minutes on two cores), default or best (an hour); other options win.",
        show_default=False,
    ),
]
Network = Annotated[
    str | None,
    typer.Option(help="ladder or flat, with settings: flat,depth=3,filters=16.", show_default=False),
]
TrainSteps = Annotated[
    int | None, typer.Option(help="Training budget in steps: the same model every time.", show_default=False)
]
TrainMinutes = Annotated[
    float | None, typer.Option(help="Training budget in minutes (default 10).", show_default=False)
]
Samples = Annotated[int | None, typer.Option(help="Posterior samples of each image (default 32).", show_default=False)]
Seed = Annotated[int | None, typer.Option(help="Seed of training and sampling (default 0).", show_default=False)]
Device = Annotated[str | None, typer.Option(help="auto (default), cpu, cuda, cuda:N or mps.", show_default=False)]
Tile = Annotated[
    int | None,
    typer.Option(help="Side of the network's tiles in pixels; results do not depend on it.", show_default=False),
]
Segmenter = Annotated[
    str | None,
    typer.Option(
        help='Segmenter with options, e.g. "li,smooth=1,split=distance,min_size=30"; auto (default): the '
        "thresholding that the samples support best; auto:A|B: the one of these; stardist:NAME_OR_FOLDER; "
        "python:module:function.",
        show_default=False,
    ),
]
Voters = Annotated[
    str | None,
    typer.Option(
        help="Whose label images are fused: all (default; of samples, MMSE and smoothed images) or samples.",
        show_default=False,
    ),
]
Spread = Annotated[
    float | None,
    typer.Option(
        help="Draw samples towards the MMSE until this share of their distance is left (default 1).",
        show_default=False,
    ),
]
Group = Annotated[int | None, typer.Option(help="Segment means of groups of this many samples.", show_default=False)]
Method = Annotated[
    str | None,
    typer.Option(
        help="Fusion: clustering (default), voting, mutex, majority or medoid, perhaps with options: "
        '"voting,scheme=simple".',
        show_default=False,
    ),
]
Target = Annotated[
    str | None,
    typer.Option(help="Score the selection of objects maximises (default map).", show_default=False),
]
Existence = Annotated[
    float | None,
    typer.Option(help="Keep objects held by this share of samples instead.", show_default=False),
]
Calibration = Annotated[
    str | None,
    typer.Option(help="File written by divseg calibrate: confidences become probabilities.", show_default=False),
]
Config = Annotated[
    Path | None,
    typer.Option(help="TOML file with settings; options given here win over it.", show_default=False),
]
Model = Annotated[Path | None, typer.Option(help="Use this model folder instead of training.", show_default=False)]
Truth = Annotated[
    Path | None, typer.Option(help="Folder of ground-truth label images, for scores.", show_default=False)
]
Out = Annotated[Path | None, typer.Option(help="Where results go.", show_default=False)]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show errors and warnings only.")]
