"""``divseg noise-model``: measure the noise of a camera, for images taken with the same settings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from divseg.cli import options as o
from divseg.cli.app import guard
from divseg.cli.show import Show

noise_model = typer.Typer(
    no_args_is_help=True,
    help="Measure the noise of a camera, for `--noise FILE` of run and train.",
)

Out = Annotated[
    Path,
    typer.Option(help="File to write: .json, or .npz, which PN2V, DivNoising and CAREamics can read."),
]
Kind = Annotated[str, typer.Option(help="poisson-gaussian, mixture or histogram.")]
Bins = Annotated[int, typer.Option(help="Number of bins (kind histogram).")]
Gaussians = Annotated[int, typer.Option(help="Number of Gaussians (kind mixture).")]
Coefficients = Annotated[int, typer.Option(help="Coefficients of the polynomials in the signal (kind mixture).")]


@noise_model.command("measure")
@guard
def measure_command(
    frames: Annotated[str, typer.Argument(metavar="FRAMES", help="Calibration frames: file, folder or glob.")],
    out: Out,
    kind: Kind = "poisson-gaussian",
    scene: Annotated[
        str,
        typer.Option(help="smooth: frames without detail; static: frames of one scene; auto: smooth for one frame."),
    ] = "auto",
    bins: Bins = 256,
    gaussians: Gaussians = 3,
    coefficients: Coefficients = 2,
    axes: o.Axes = None,
    channel: o.Channel = None,
    planes: o.Planes = None,
) -> int:
    """Measure noise from calibration frames.

    Give one frame without detail from dark to bright (for example of a defocused field diaphragm), or several frames
    of one scene that does not change, taken with the camera settings of the images.
    """
    from divseg.workflow.noise_model import measure_noise

    with Show():
        model = measure_noise(
            frames,
            out,
            axes=axes,
            channel=channel,
            depth="planes" if planes else None,
            kind=kind,
            scene=scene,
            bins=bins,
            n_gaussian=gaussians,
            n_coeff=coefficients,
        )
    _print_result(model.describe(), out)
    return 0


@noise_model.command("bootstrap")
@guard
def bootstrap_command(
    noisy: Annotated[str, typer.Argument(metavar="NOISY", help="Noisy images: file, folder or glob.")],
    denoised: Annotated[
        str,
        typer.Argument(
            metavar="DENOISED", help="Denoised images, by any program; or a model folder; or n2v[,minutes=5]."
        ),
    ],
    out: Out,
    kind: Kind = "poisson-gaussian",
    bins: Bins = 256,
    gaussians: Gaussians = 3,
    coefficients: Coefficients = 2,
    axes: o.Axes = None,
    channel: o.Channel = None,
    planes: o.Planes = None,
    device: o.Device = None,
) -> int:
    """Measure noise from noisy images and their denoised versions.

    No calibration frames are needed. DENOISED may be the folder of a trained model, which then denoises the images, or
    n2v: Noise2Void by CAREamics is trained on the images.
    """
    from divseg.workflow.noise_model import bootstrap_noise

    with Show():
        model = bootstrap_noise(
            noisy,
            denoised,
            out,
            axes=axes,
            channel=channel,
            depth="planes" if planes else None,
            device=device or "auto",
            kind=kind,
            bins=bins,
            n_gaussian=gaussians,
            n_coeff=coefficients,
        )
    _print_result(model.describe(), out)
    return 0


@noise_model.command("show")
@guard
def show_command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Noise model: .json, .npz or .npy.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for the plots (default: that of the file).", show_default=False)
    ] = None,
) -> int:
    """Describe a noise model and plot it.

    The plots show the variance against the signal, and the likelihood at a few signals, with the data of the fit.
    """
    from divseg.workflow.noise_model import show_noise

    model, plots = show_noise(file, out)
    print(model.describe())
    if model.fit_data is not None:
        print(f"measured from {model.fit_data.source}")
        for note in model.fit_data.notes:
            print(f"note: {note}")
    for path in plots:
        print(path)
    return 0


def _print_result(description: str, out: Path) -> None:
    print(f"{out}: {description}")
    print(f"use it with --noise {out}; see it with `divseg noise-model show {out}`")
