"""The DivNoising object: fit to noisy images, sample clean ones, save and load."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from divseg.denoise.data import TrainingData
from divseg.denoise.device import channels_last, choose_device
from divseg.denoise.estimates import RunningMoments, moments
from divseg.denoise.folder import load_parts, save_model
from divseg.denoise.latent import image_key
from divseg.denoise.network import DivNoisingNet, NetworkConfig
from divseg.denoise.noise import NoiseModel, choose_noise, photon_transfer
from divseg.denoise.sampling import Posterior, check_tile, encode, sample_batches
from divseg.denoise.schedule import Budget
from divseg.denoise.training import Progress, Trainer, TrainSettings, check_not_collapsed
from divseg.errors import InputError
from divseg.io import Image, as_images, check_pixels

DEFAULT_MINUTES = 10.0


class _Planes(Sequence[NDArray[np.generic]]):
    """Images as checked 2-D arrays, loaded one at a time."""

    def __init__(self, images: Any) -> None:
        self.images = as_images(images)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: Any) -> Any:
        return plane(self.images[index])


def plane(image: Image | NDArray[np.generic], smallest: int = 1) -> NDArray[np.generic]:
    """Return an image's checked 2-D array.

    Raises
    ------
    InputError
        If the image is not 2-D with one channel, has pixels that are no numbers, or a side of fewer than
        `smallest` pixels.
    """
    if not isinstance(image, Image):
        image = Image.from_array(np.asarray(image))
    if image.axes != "YX":
        raise InputError(
            f"{image.name}: axes {image.axes} of shape {image.shape}; this version works on 2-D images with one "
            "channel (choose --channel, or --axes TYX to take the planes of a stack one by one)"
        )
    if min(image.shape) < smallest:
        raise InputError(
            f"{image.name}: {image.shape[0]}x{image.shape[1]} pixels are smaller than the network's tile of "
            f"{smallest}x{smallest}; leave it out or crop less"
        )
    check_pixels(image)
    return image.data


class DivNoising:
    """A trained DivNoising model: posterior samples of clean images from noisy ones.

    Made by :meth:`fit` or :meth:`load`.

    Attributes
    ----------
    network : DivNoisingNet
        The torch module.
    noise : NoiseModel
        How a noisy pixel scatters around its clean value, in intensity units.
    mean, sd : float
        Normalisation of intensities, from the training images.
    training : dict
        What training did: steps, seconds, KL per pixel, device.
    history : list of dict
        Figures during training.

    References
    ----------
    Prakash, Krull, Jug, "Fully unsupervised diversity denoising with convolutional variational
    autoencoders", ICLR 2021, arXiv:2006.06072.
    """

    def __init__(
        self,
        network: DivNoisingNet,
        noise: NoiseModel,
        mean: float,
        sd: float,
        training: dict[str, Any] | None = None,
        history: list[dict[str, float]] | None = None,
        device: str | torch.device = "auto",
    ) -> None:
        self.device = choose_device(device)
        self.network = channels_last(network, self.device).eval()
        self.noise = noise
        noise.as_module().to(self.device)
        self.mean, self.sd = mean, sd
        self.training, self.history = training or {}, history or []

    @classmethod
    def fit(
        cls,
        images: Any,
        *,
        noise: str | NoiseModel = "learned",
        train_steps: int | None = None,
        train_minutes: float | None = None,
        seed: int = 0,
        device: str | torch.device = "auto",
        network: NetworkConfig | None = None,
        settings: TrainSettings | None = None,
        progress: Progress | None = None,
    ) -> Self:
        """Train on noisy images alone.

        Parameters
        ----------
        images : image, array (Y, X) or (N, Y, X), or sequence of them
            Noisy images of one kind, camera and setting, of any sizes.
        noise : str or NoiseModel
            ``"learned"``: Poisson-Gaussian, started from the images' photon-transfer curve and co-learned;
            ``"estimated"``: the same, held at the estimate; ``"gaussian,sd=20"``,
            ``"poisson-gaussian,a=2,b=-180"``: known; or a noise model.
        train_steps, train_minutes : optional
            Budget; the first to run out ends training. Ten minutes where neither is given.
        seed : int
            With a budget in steps, the same seed gives the same model on the same machine.
        device : str or torch.device
            ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or ``"mps"``.
        network : NetworkConfig, optional
            Depth, width, latents.
        settings : TrainSettings, optional
            Settings of the optimiser.
        progress : callable, optional
            Called now and then with a dict of figures: step, progress (0 to 1), loss, kl, seconds.

        Returns
        -------
        DivNoising

        Raises
        ------
        InputError
            If the images cannot be trained on.
        TrainingError
            If training broke down or collapsed.
        """
        if train_steps is None and train_minutes is None:
            train_minutes = DEFAULT_MINUTES
        budget = Budget(train_steps, train_minutes)
        settings = settings or TrainSettings()
        config = network or NetworkConfig()
        chosen = choose_device(device)
        data = TrainingData(_Planes(images), settings.patch, config.stride)
        model = choose_noise(noise, lambda: photon_transfer(np.asarray(im, dtype=np.float32) for im in data.images))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            net = DivNoisingNet(config)
        net.initialise()
        trainer = Trainer(net, model, data, budget=budget, settings=settings, seed=seed, device=chosen)
        record = trainer.run(progress)
        check_not_collapsed(record)
        summary = record.to_dict() | {"noise": model.to_dict()}
        return cls(net, model, data.mean, data.sd, summary, record.history, chosen)

    @classmethod
    def load(cls, folder: str | Path, *, device: str | torch.device = "auto") -> Self:
        """Load a model folder written by :meth:`save`.

        Raises
        ------
        ModelError
            If a file is missing, damaged, or from a newer version.
        """
        return cls(**load_parts(folder), device=device)

    def save(self, folder: str | Path) -> Path:
        """Write the model to a folder that needs nothing else; returns the folder."""
        return save_model(self, folder)

    def posterior(self, image: Any, *, tile: int | None = None) -> Posterior:
        """Encode an image; the posterior can be sampled as often as needed without encoding again."""
        pixels = plane(image)
        x = ((pixels.astype(np.float64) - self.mean) / self.sd).astype(np.float32)
        side = check_tile(tile, self.network.config.stride, self.device)
        return encode(self.network, x, image_key(pixels), side)

    def sample(
        self,
        image: Any,
        *,
        n: int = 32,
        seed: int = 0,
        batch_size: int | None = None,
        tile: int | None = None,
    ) -> Iterator[torch.Tensor]:
        """Draw clean images from the posterior, lazily.

        Sample k depends on the model, the image's pixels, `seed` and k alone: not on `n`, `batch_size`,
        `tile`, or on what else is computed.

        Parameters
        ----------
        image : Image or array, shape (Y, X), or Posterior
            A noisy image, or what :meth:`posterior` returned for it.
        n : int
            Number of samples.
        seed : int
            Seed of the latent noise.
        batch_size : int, optional
            Samples decoded at once; 1 on a CPU and 16 on a GPU by default.
        tile : int, optional
            Side in pixels of the tiles the network works on; chosen by device by default.

        Yields
        ------
        Tensor, shape (B, Y, X), float32
            Samples in the image's intensity units, on the model's device.
        """
        if n < 1:
            raise InputError(f"n={n} samples: at least 1 is needed")
        size = batch_size if batch_size is not None else (1 if self.device.type == "cpu" else 16)
        if size < 1:
            raise InputError(f"batch_size={size} must be at least 1")
        posterior = image if isinstance(image, Posterior) else self.posterior(image, tile=tile)
        side = check_tile(tile, self.network.config.stride, self.device)
        batches = sample_batches(self.network, posterior, n=n, seed=seed, batch_size=size, tile=side)
        return (batch * self.sd + self.mean for batch in batches)

    def moments(self, image: Any, *, n: int = 32, seed: int = 0, **options: Any) -> RunningMoments:
        """Mean (MMSE) and standard deviation over `n` samples, streamed."""
        return moments(self.sample(image, n=n, seed=seed, **options))

    def mmse(self, image: Any, *, n: int = 32, seed: int = 0, **options: Any) -> NDArray[np.float32]:
        """Minimum-mean-square-error estimate: the mean of `n` samples.

        Returns
        -------
        array, shape (Y, X), float32
            In the image's intensity units.
        """
        return self.moments(image, n=n, seed=seed, **options).mean.cpu().numpy()
