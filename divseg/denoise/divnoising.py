"""The DivNoising object: fit to noisy images, sample clean ones, save and load."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from divseg.denoise.model_folder import load_parts, save_model
from divseg.denoise.networks.base import LatentNet, NetworkShape
from divseg.denoise.networks.registry import build_network, parse_network
from divseg.denoise.noise import NoiseModel, photon_transfer
from divseg.denoise.normalization import Intensity
from divseg.denoise.out_of_distribution import Familiarity, familiarity
from divseg.denoise.precision import channels_last, sampling_dtype
from divseg.denoise.sampling.estimates import RunningMoments, moments
from divseg.denoise.sampling.latent_noise import image_key
from divseg.denoise.sampling.sampler import Sampler
from divseg.denoise.sampling.stopping import Until
from divseg.denoise.sampling.tiled_estimates import Estimates, check_levels, estimate_tilewise
from divseg.denoise.sampling.tiles import Posterior, check_tile, encode
from divseg.denoise.sampling.tta import AugmentedSampler, view_of
from divseg.denoise.training.data import TrainingData
from divseg.denoise.training.likelihood import NoiseChoice, choose_likelihood
from divseg.denoise.training.schedule import Budget
from divseg.denoise.training.settings import TrainSettings
from divseg.denoise.training.trainer import Progress, Trainer, check_not_collapsed
from divseg.denoise.validation import TrainingImages, pixels_for
from divseg.denoise.validation import plane as plane
from divseg.device import choose_device
from divseg.errors import DivsegWarning, InputError, ModelError

DEFAULT_MINUTES = 10.0


class DivNoising:
    """A trained DivNoising model: posterior samples of clean images from noisy ones.

    Made by :meth:`fit` or :meth:`load`.

    Attributes
    ----------
    network : LatentNet
        The torch module.
    noise : NoiseModel
        How a noisy pixel scatters around its clean value, in intensity units.
    intensity : Intensity
        Mean and standard deviation of the training images, channel by channel.
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
        network: LatentNet,
        noise: NoiseModel,
        mean: float | Sequence[float],
        sd: float | Sequence[float],
        training: dict[str, Any] | None = None,
        history: list[dict[str, float]] | None = None,
        device: str | torch.device = "auto",
    ) -> None:
        self.device = choose_device(device)
        self.network = channels_last(network, self.device).eval()
        self.noise = noise
        noise.to(self.device)
        self.intensity = Intensity.of(mean, sd)
        self.training, self.history = training or {}, history or []

    @classmethod
    def fit(
        cls,
        images: Any,
        *,
        noise: NoiseChoice = "learned",
        train_steps: int | None = None,
        train_minutes: float | None = None,
        seed: int = 0,
        device: str | torch.device = "auto",
        network: NetworkShape | str | None = None,
        settings: TrainSettings | None = None,
        progress: Progress | None = None,
        checkpoints: str | Path | None = None,
        resume: bool = False,
    ) -> Self:
        """Train on noisy images alone.

        Parameters
        ----------
        images : image, array (Y, X) or (N, Y, X), or sequence of them
            Noisy images of one kind, camera and setting, of any sizes. Volumes and images with several
            channels are given as :class:`divseg.io.Image` with axes ZYX, CYX or CZYX.
        noise : str, NoiseModel, or sequence of them
            For each channel, or one for all of them.
            ``"learned"``: Poisson-Gaussian, started from the images' photon-transfer curve and co-learned;
            ``"estimated"``: the same, held at the estimate; ``"gaussian,std=20"``,
            ``"poisson-gaussian,a=2,b=-180"``: known; or a noise model. ``"none"``: squared error without
            a noise model, an ordinary variational autoencoder, as a baseline.
        train_steps, train_minutes : optional
            Budget; the first to run out ends training. Ten minutes where neither is given.
        seed : int
            With a budget in steps, the same seed gives the same model on the same machine.
        device : str or torch.device
            ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or ``"mps"``.
        network : str, NetworkConfig or LadderConfig, optional
            ``"ladder"``, ``"flat"`` or either with settings, such as ``"flat,depth=3,filters=16"``
            (:func:`divseg.denoise.networks.registry.parse_network`). A ladder for images, flat for volumes, where it is
            not given.
        settings : TrainSettings, optional
            Settings of the optimiser.
        progress : callable, optional
            Called now and then with a dict of figures: step, progress (0 to 1), loss, kl, seconds.
        checkpoints : path, optional
            Folder for a checkpoint and the log, written every ``settings.checkpoint_every`` steps. Give the
            model folder: :meth:`save` then removes the checkpoint.
        resume : bool
            Go on from the checkpoint in `checkpoints`, with the same images and settings. On a CPU with a
            budget in steps, the model is bit for bit that of a training that was never interrupted.

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
        chosen = choose_device(device)
        stack = TrainingImages(images, parse_network(network) if isinstance(network, str) else network)
        config = stack.config
        data = TrainingData(stack, settings.patch, config.stride, dims=config.dims, held_out=settings.held_out)
        model = choose_likelihood(noise, lambda c: photon_transfer(_planes(data, c)), data.intensity.sd)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            net = build_network(config)
            net.initialise()
        trainer = Trainer(
            net,
            model,
            data,
            budget=budget,
            settings=settings,
            seed=seed,
            device=chosen,
            checkpoints=checkpoints,
            resume=resume,
        )
        record = trainer.run(progress)
        check_not_collapsed(record)
        summary = record.to_dict() | {"noise": model.to_dict()}
        mean, sd = data.intensity.plain
        return cls(net, model, mean, sd, summary, record.history, chosen)

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

    @property
    def mean(self) -> float | list[float]:
        """Mean of the training images: a number, or one for each of several channels."""
        return self.intensity.plain[0]

    @property
    def sd(self) -> float | list[float]:
        """Standard deviation of the training images: a number, or one for each of several channels."""
        return self.intensity.plain[1]

    def posterior(self, image: Any, *, tile: int | None = None, precision: str = "fp32") -> Posterior:
        """Encode an image; the posterior can be sampled as often as needed without encoding again."""
        pixels = pixels_for(self.network.config, image)
        return self._encode(pixels, image_key(pixels), tile, precision)

    def _encode(self, pixels: NDArray[np.generic], key: int, tile: int | None, precision: str) -> Posterior:
        config = self.network.config
        side = check_tile(tile, config.stride, self.device, config.dims)
        return encode(self.network, pixels, key, side, self.intensity, sampling_dtype(precision))

    def sample(
        self,
        image: Any,
        *,
        n: int | Literal["auto"] | Until = 32,
        seed: int = 0,
        batch_size: int | None = None,
        tile: int | None = None,
        precision: str = "fp32",
        augment: bool = False,
    ) -> Iterator[Tensor]:
        """Draw clean images from the posterior, lazily.

        Sample k depends on the model, the image's pixels, `seed`, `augment` and k alone: not on `n`,
        `batch_size`, `tile`, or on what else is computed.

        Parameters
        ----------
        image : Image or array, shape (Y, X) or as the model was trained, or Posterior
            A noisy image, or what :meth:`posterior` returned for it.
        n : int, "auto" or Until
            Number of samples. ``"auto"`` draws until the mean is known well enough; :class:`Until` says
            how well, and can watch a consensus.
        seed : int
            Seed of the latent noise.
        batch_size : int, optional
            Samples decoded at once; measured on the device by default, and halved where memory runs out.
        tile : int, optional
            Side in pixels of the tiles the network works on; chosen by device by default.
        precision : str
            ``"fp32"``, or ``"bf16"`` for the network's trunk: faster where the hardware has it, with
            differences far below the spread of the samples.
        augment : bool
            Test-time augmentation: sample k is drawn from turned and flipped view ``k % 8`` of the image.

        Yields
        ------
        Tensor, shape (B, *image.shape), float32
            Samples in the image's intensity units, on the model's device.

        Warns
        -----
        DivsegWarning
            If the image is far from what the model was trained on (not where a posterior is given).
        """
        until = _until(n)
        sampler = self._sampler(image, seed, batch_size, tile, precision, augment)
        pixels = None if isinstance(image, Posterior) else pixels_for(self.network.config, image)
        return self._draw(sampler, until, pixels)

    def _sampler(
        self, image: Any, seed: int, batch: int | None, tile: int | None, precision: str, augment: bool
    ) -> Sampler | AugmentedSampler:
        config, dtype = self.network.config, sampling_dtype(precision)
        side = check_tile(tile, config.stride, self.device, config.dims)
        if isinstance(image, Posterior):
            if augment:
                raise InputError("augment=True needs the image itself: its turned views are encoded too")
            return Sampler(self.network, image, seed, side, batch, dtype)
        pixels = pixels_for(config, image)
        key = image_key(pixels)

        def of_view(view: int) -> Sampler:
            turned = view_of(pixels, view) if view else pixels
            return Sampler(self.network, self._encode(turned, key, tile, precision), seed, side, batch, dtype)

        return AugmentedSampler(of_view) if augment else of_view(0)

    def _draw(
        self, sampler: Sampler | AugmentedSampler, until: int | Until, pixels: NDArray[np.generic] | None
    ) -> Iterator[Tensor]:
        """Yield batches in intensity units until there are enough; look at the first sample of an image."""
        shape = sampler.shape
        running = RunningMoments() if isinstance(until, Until) else None
        drawn, stop = 0, until.next_check(0) if isinstance(until, Until) else until
        while drawn < stop:
            for normalised in sampler.batches(drawn, stop):
                batch = self.intensity.restore(normalised)
                if drawn == 0 and pixels is not None:
                    self._look(sampler.upright, pixels, batch[0])
                drawn += len(batch)
                if running is not None:
                    running.add(batch)
                yield batch.reshape(-1, *shape)
            if isinstance(until, Until) and running is not None and not until.reached(running, self._variance):
                stop = until.next_check(drawn)

    def _variance(self, s: Tensor) -> Tensor:
        with torch.no_grad():  # co-learned noise has parameters
            return self.noise.variance(s[None])[0]

    def _look(self, sampler: Sampler, pixels: NDArray[np.generic], sample: Tensor) -> None:
        """Warn where the image is unlike the training images."""
        limits = self.training.get("loss_range")
        if limits:
            found = familiarity(sampler, pixels, sample, self.noise, self.intensity, limits)
            if found.unlike:
                warnings.warn(found.message, DivsegWarning, stacklevel=3)

    def familiarity(self, image: Any, *, tile: int | None = None) -> Familiarity:
        """Compare the image's loss with that of the training images.

        Raises
        ------
        ModelError
            If the model is from a version that did not keep the training images' loss.
        """
        limits = self.training.get("loss_range")
        if not limits:
            raise ModelError("this model does not hold the loss of its training images; train it with this version")
        pixels = pixels_for(self.network.config, image)
        sampler = self._sampler(image, 0, 1, tile, "fp32", False)
        sample = self.intensity.restore(sampler.draw([0]))[0]
        return familiarity(sampler.upright, pixels, sample, self.noise, self.intensity, limits)

    def draw(self, image: Any, which: Sequence[int], *, seed: int = 0, **options: Any) -> NDArray[np.float32]:
        """Draw chosen samples, by number: the very images that :meth:`sample` yields at those places.

        Parameters
        ----------
        image : Image, array or Posterior
            As for :meth:`sample`.
        which : sequence of int
            Numbers of the samples, >= 0.
        seed : int
            Seed of the latent noise.
        **options
            `batch_size`, `tile`, `precision` and `augment` as for :meth:`sample`.

        Returns
        -------
        array, shape (len(which), *image.shape), float32
        """
        numbers = [int(k) for k in which]
        if not numbers or min(numbers) < 0:
            raise InputError(f"which={list(which)} must name at least one sample, counted from 0")
        known = {"batch_size": None, "tile": None, "precision": "fp32", "augment": False}
        if unknown := sorted(set(options) - set(known)):
            raise InputError(f"unknown option(s) {', '.join(unknown)}; known are {', '.join(known)}")
        chosen = {**known, **options}
        sampler = self._sampler(
            image, seed, chosen["batch_size"], chosen["tile"], chosen["precision"], chosen["augment"]
        )
        return self.intensity.restore(sampler.draw(numbers)).reshape(-1, *sampler.shape).cpu().numpy()

    def moments(
        self, image: Any, *, n: int | Literal["auto"] | Until = 32, seed: int = 0, **options: Any
    ) -> RunningMoments:
        """Mean (MMSE) and standard deviation over `n` samples, streamed."""
        return moments(self.sample(image, n=n, seed=seed, **options))

    def mmse(
        self, image: Any, *, n: int | Literal["auto"] | Until = 32, seed: int = 0, **options: Any
    ) -> NDArray[np.float32]:
        """Minimum-mean-square-error estimate: the mean of `n` samples.

        Returns
        -------
        array, shape (Y, X), float32
            In the image's intensity units.
        """
        return self.moments(image, n=n, seed=seed, **options).mean.cpu().numpy()

    def estimate(
        self,
        image: Any,
        *,
        n: int = 64,
        seed: int = 0,
        quantiles: Sequence[float] = (0.05, 0.5, 0.95),
        mode: bool = False,
        bandwidth: float | None = None,
        batch_size: int | None = None,
        tile: int | None = None,
        precision: str = "fp32",
    ) -> Estimates:
        """Mean, spread, exact quantiles and, if asked for, the mode, in one pass over the tiles.

        All `n` samples of a tile are held at once and reduced, so memory does not grow with the image.

        Parameters
        ----------
        image : Image, array or Posterior
            As for :meth:`sample`.
        n, seed, batch_size, tile, precision
            As for :meth:`sample`; the samples are the same.
        quantiles : sequence of float
            Probabilities from 0 to 1.
        mode : bool
            Also seek the maximum a posteriori by mean shift (:func:`divseg.denoise.sampling.modes.seek_mode`).
        bandwidth : float, optional
            Width of the mean-shift kernel relative to the samples' spread; 0.6 by default.

        Returns
        -------
        Estimates
        """
        if n < 1:
            raise InputError(f"n={n} samples: at least 1 is needed")
        if bandwidth is not None and not bandwidth > 0:
            raise InputError(f"bandwidth={bandwidth} must be above 0")
        levels = check_levels(quantiles)
        sampler = self._sampler(image, seed, batch_size, tile, precision, False)
        if isinstance(sampler, AugmentedSampler):
            raise InputError("estimates by tiles cannot be augmented")
        return estimate_tilewise(sampler, self.intensity, n, levels=levels, mode=mode, bandwidth=bandwidth)


def _until(n: int | str | Until) -> int | Until:
    """Check the number of samples."""
    if isinstance(n, Until):
        return n
    if n == "auto":
        return Until()
    if isinstance(n, str) or n < 1:
        raise InputError(f"n={n!r} samples: at least 1 is needed, or 'auto'")
    return n


def _planes(data: TrainingData, channel: int) -> Iterator[NDArray[np.float32]]:
    """Yield the planes of one channel of all training images."""
    for image in data.images:
        pixels = image[channel].astype(np.float32)
        yield from pixels if data.dims == 3 else [pixels]
