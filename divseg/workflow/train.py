"""``divseg train``: a model folder from noisy images."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from divseg.config import RunConfig
from divseg.io import check_inputs
from divseg.io.sources import Source
from divseg.workflow.progress import LogReporter, Reporter, terminable
from divseg.workflow.training import train

if TYPE_CHECKING:
    from divseg.denoise import DivNoising


def train_folder(
    source: Source, out: str | os.PathLike[str], config: RunConfig | None = None, *, reporter: Reporter | None = None
) -> DivNoising:
    """Train on the images of a folder and write a model folder with a plot of the training.

    Checkpoints are written to the folder while training runs; after Ctrl-C, SIGTERM or a crash the same call goes on
    from the last one.

    Parameters
    ----------
    source : path, glob or list of those
        The noisy images.
    out : path
        Model folder.
    config : RunConfig, optional
        Settings; those of data, noise, training, seed and device matter.
    reporter : Reporter, optional
        Told what is done; by default everything goes to the ``divseg`` logger.

    Returns
    -------
    DivNoising

    Raises
    ------
    DivsegError
        If the images cannot be trained on, or the folder cannot be written.
    """
    from divseg.denoise.model_folder import check_model_folder
    from divseg.report.figures import write_training_plot

    config, reporter = config or RunConfig(), reporter or LogReporter()
    found = check_inputs(source, axes=config.data.axes, channel=config.data.channel, out=out)
    for line in found.lines():
        reporter.say(line)
    with terminable():
        model = train(found.images, config, reporter, checkpoints=check_model_folder(Path(out)))
        model.save(Path(out))
    write_training_plot(Path(out))
    return model
