"""The DivNoising object: fit to noisy images, sample clean ones, save and load."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self, Unpack

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from divseg.denoise import dihedral, display
from divseg.denoise.model_folder import ModelParts, load_parts, save_model
from divseg.denoise.networks.base import VAEConfig
from divseg.denoise.out_of_distribution import OutOfDistribution, out_of_distribution
from divseg.denoise.precision import channels_last, sampling_dtype
from divseg.denoise.sampling.estimates import (
    MAP_BANDWIDTH,
    Estimates,
    RunningMoments,
    check_levels,
    moments,
    tiled_estimates,
)
from divseg.denoise.sampling.latent_noise import image_key
from divseg.denoise.sampling.sampler import Sampler, SamplingOptions
from divseg.denoise.sampling.stopping import SampleCount, StoppingRule, stopping_rule
from divseg.denoise.sampling.tiles import Posterior, check_tile, encode
from divseg.denoise.sampling.tta import TTASampler
from divseg.denoise.training.checkpoint import Resume
from divseg.denoise.training.likelihood import NoiseChoice
from divseg.denoise.training.schedule import Budget
from divseg.denoise.training.settings import TrainSettings
from divseg.denoise.training.train import train_parts
from divseg.denoise.training.trainer import Progress
from divseg.denoise.validation import ImageLike, ImagesLike, checked_image
from divseg.device import choose_device
from divseg.device.to_host import drawn_to_host
from divseg.errors import DivsegWarning, InputError, ModelError


class DivNoising:
    """A trained DivNoising model: posterior samples of clean images from noisy ones.

    Use :meth:`fit` or :meth:`load` to make one.

    Parameters
    ----------
    parts : ModelParts
        Network, noise model, normalization, and the record of the training.
    device : str or torch.device
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or ``"mps"``.

    Attributes
    ----------
    network : LatentNet
        The torch module.
    noise : NoiseModel
        Distribution of a noisy pixel around its clean value, in intensity units.
    normalization : Normalization
        Mean and standard deviation of the training images, channel by channel.
    training : dict
        Record of the training: steps, seconds, KL per pixel, device and others.
    history : list of dict
        Lines of the training log.

    References
    ----------
    Prakash, Krull, Jug, "Fully unsupervised diversity denoising with convolutional variational
    autoencoders", ICLR 2021, arXiv:2006.06072.

    Examples
    --------
    >>> import numpy as np
    >>> from divseg import DivNoising
    >>> y, x = np.mgrid[:64, :64]
    >>> clean = 100.0 + 80.0 * (np.hypot(y - 32, x - 32) < 20)
    >>> noisy = np.random.default_rng(0).normal(clean, 20.0)
    >>> model = DivNoising.fit(noisy, noise="estimated", network="flat,filters=8,latents=8", train_steps=20)
    >>> samples = [batch.cpu().numpy() for batch in model.sample(noisy, n=3, batch_size=1)]
    >>> samples[0].shape
    (1, 64, 64)
    >>> model.mmse(noisy, n=8).shape
    (64, 64)
    """

    def __init__(self, parts: ModelParts, *, device: str | torch.device = "auto") -> None:
        self.device = choose_device(device)
        self.network = channels_last(parts.network, self.device).eval()
        self.noise = parts.noise
        self.noise.to(self.device)
        self.normalization = parts.normalization
        self.training, self.history = parts.training, parts.history

    @classmethod
    def fit(
        cls,
        images: ImagesLike,
        *,
        noise: NoiseChoice = "learned",
        train_steps: int | None = None,
        train_minutes: float | None = None,
        seed: int = 0,
        device: str | torch.device = "auto",
        network: VAEConfig | str | None = None,
        settings: TrainSettings | None = None,
        progress: Progress | None = None,
        checkpoints: str | Path | None = None,
        resume: Resume = False,
    ) -> Self:
        """Train on noisy images alone.

        Parameters
        ----------
        images : image, array (Y, X) or (N, Y, X), or sequence of them
            Noisy images of one kind, camera and setting, of any sizes. Give volumes and images with several
            channels as :class:`divseg.io.Image` with axes ZYX, CYX or CZYX.
        noise : str, NoiseModel, or sequence of them
            One for all channels, or one for each.
            ``"learned"``: Poisson-Gaussian, started from the images' photon-transfer curve and co-learned;
            ``"estimated"``: the same, fixed at the estimate; ``"gaussian,std=20"``,
            ``"poisson-gaussian,a=2,b=-180"``: known; or a noise model. ``"none"``: squared error without
            a noise model, an ordinary variational autoencoder, as a baseline.
        train_steps, train_minutes : optional
            Budget; the first to run out ends training. Ten minutes by default.
        seed : int
            With a budget in steps, the same seed gives the same model on the same machine.
        device : str or torch.device
            ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or ``"mps"``.
        network : str, FlatConfig or HierarchicalConfig, optional
            ``"hierarchical"``, ``"flat"`` or either with settings, such as ``"flat,depth=3,filters=16"``
            (:func:`divseg.denoise.networks.registry.parse_network`). By default hierarchical for images, flat for
            volumes.
        settings : TrainSettings, optional
            Settings of the optimizer.
        progress : callable, optional
            Called at intervals with a dict of figures: step, progress (0 to 1), loss, kl, seconds.
        checkpoints : path, optional
            Folder for a checkpoint and the log, written every ``settings.checkpoint_every`` steps, at least once a
            minute, after Ctrl-C, and after the last step. Give the model folder: :meth:`save` then removes the
            checkpoint.
        resume : bool or "auto"
            Go on from the checkpoint in `checkpoints`, with the same images and settings. On a CPU with a
            budget in steps, the model is bit for bit that of a training that was never interrupted. ``"auto"``
            begins anew if there is no checkpoint, or only one that is damaged or belongs to other images or
            settings, which is then renamed.

        Raises
        ------
        InputError
            If the images cannot be trained on.
        ConfigError
            If a setting is unknown or impossible, or the checkpoint belongs to another training.
        ModelError
            If the checkpoint is missing or damaged, and `resume` is not ``"auto"``.
        TrainingError
            If training broke down or collapsed.

        Warns
        -----
        DivsegWarning
            If ``resume="auto"`` renamed a checkpoint, or if only some of the images fit into memory.
        """
        on = choose_device(device)
        parts = train_parts(
            images,
            noise,
            Budget(train_steps, train_minutes),
            seed=seed,
            device=on,
            network=network,
            settings=settings or TrainSettings(),
            progress=progress,
            checkpoints=checkpoints,
            resume=resume,
        )
        return cls(parts, device=on)

    @classmethod
    def load(cls, folder: str | Path, *, device: str | torch.device = "auto") -> Self:
        """Load a model folder written by :meth:`save`.

        Raises
        ------
        ModelError
            If a file is missing, damaged, or from another version.
        """
        return cls(load_parts(folder), device=device)

    @property
    def parts(self) -> ModelParts:
        """What makes the model, as :meth:`save` writes it."""
        return ModelParts(self.network, self.noise, self.normalization, self.training, self.history)

    def save(self, folder: str | Path) -> Path:
        """Write the model to a folder that needs nothing else, and return the folder.

        Raises
        ------
        OutputError
            If the folder holds something that is not a divseg model, or cannot be written.
        """
        return save_model(self.parts, folder)

    def __repr__(self) -> str:
        return display.text(self.parts)

    def _repr_html_(self) -> str:
        return display.html(self.parts)

    @property
    def mean(self) -> float | list[float]:
        """Mean of the training images: a number, or one for each of several channels."""
        return self.normalization.to_config()["mean"]

    @property
    def std(self) -> float | list[float]:
        """Standard deviation of the training images: a number, or one for each of several channels."""
        return self.normalization.to_config()["std"]

    def posterior(self, image: ImageLike, *, tile: int | None = None, precision: str = "exact") -> Posterior:
        """Encode an image; the posterior can be sampled as often as needed without encoding again.

        `tile` and `precision` are those of :meth:`sample`.
        """
        return self._sampler(image, tile=tile, precision=precision).posterior

    def sample(
        self,
        image: ImageLike | Posterior,
        *,
        n: SampleCount = 32,
        seed: int = 0,
        batch_size: int | None = None,
        tile: int | None = None,
        precision: str = "exact",
        tta: bool = False,
    ) -> Iterator[Tensor]:
        """Draw clean images from the posterior, lazily.

        Sample k depends on the model, the image's pixels, `seed`, `tta` and k alone: not on `n`,
        `batch_size`, `tile`, the device, or on what else is computed (`precision` says how nearly).

        Parameters
        ----------
        image : Image or array, shape (Y, X) or as the model was trained, or Posterior
            A noisy image, or what :meth:`posterior` returned for it.
        n : int, "auto" or StoppingRule
            Number of samples. ``"auto"`` draws until the mean is accurate enough; a :class:`StoppingRule` sets
            how accurate.
        seed : int
            Seed of the latent noise.
        batch_size : int, optional
            Samples decoded at once; measured on the device by default, and halved if memory runs out.
        tile : int, optional
            Side in pixels of the tiles the network works on; chosen by device by default.
        precision : str
            ``"exact"``: float32 without TF32 and with deterministic algorithms, so that a sample in other tiles
            differs by at most 1e-5 and on another device by 1e-4 of the image's standard deviation. ``"bf16"`` for
            the network's convolutions: faster on hardware that supports it, with differences far below the spread
            of the samples.
        tta : bool
            Test-time augmentation: sample k is drawn from turned and flipped version ``k % 8`` of the image.

        Yields
        ------
        Tensor, shape (B, *image.shape), float32
            Samples in the image's intensity units, on the model's device.

        Warns
        -----
        DivsegWarning
            If the image is unlike those that the model was trained on; once for each posterior.
        """
        rule = stopping_rule(n)
        sampler = self._sampler(image, seed=seed, batch_size=batch_size, tile=tile, precision=precision, tta=tta)
        return self._draw(sampler, rule)

    def _sampler(
        self,
        image: ImageLike | Posterior,
        *,
        seed: int = 0,
        batch_size: int | None = None,
        tile: int | None = None,
        precision: str = "exact",
        tta: bool = False,
    ) -> Sampler | TTASampler:
        config, dtype = self.network.config, sampling_dtype(precision)
        side = check_tile(tile, config.stride, self.device, config.dims)
        if isinstance(image, Posterior):
            if tta:
                raise InputError("tta=True needs the image itself: its turned and flipped versions are encoded too")
            return Sampler(self.network, image, seed, side, batch_size, dtype)
        checked = checked_image(config, image)
        key = image_key(checked.fingerprint)

        def make(version: int) -> Sampler:
            pixels = dihedral.transform(checked.data, version)
            posterior = encode(self.network, pixels, key, side, self.normalization, dtype)
            return Sampler(self.network, posterior, seed, side, batch_size, dtype)

        return TTASampler(make) if tta else make(0)

    def _draw(self, sampler: Sampler | TTASampler, rule: int | StoppingRule) -> Iterator[Tensor]:
        """Yield batches in intensity units until there are enough; compare the first sample with the image."""
        shape = sampler.shape
        running = RunningMoments() if isinstance(rule, StoppingRule) else None
        drawn, stop = 0, rule.next_check(0) if isinstance(rule, StoppingRule) else rule
        while drawn < stop:
            for normalized in sampler.batches(drawn, stop):
                batch = self.normalization.denormalize(normalized)
                if drawn == 0:
                    self._warn_if_ood(sampler.original, batch[0])
                drawn += len(batch)
                if running is not None:
                    running.add(batch)
                yield batch.reshape(-1, *shape)
            if isinstance(rule, StoppingRule) and running is not None and not rule.reached(running, self._variance):
                stop = rule.next_check(drawn)

    def _variance(self, s: Tensor) -> Tensor:
        with torch.no_grad():  # co-learned noise has parameters
            return self.noise.variance(s[None])[0]

    def _warn_if_ood(self, sampler: Sampler, sample: Tensor | None = None) -> None:
        """Warn, once for each posterior, if the image is unlike the training images; `sample` is sample 0."""
        limits = self.training.get("loss_range")
        if limits and not sampler.posterior.checked:
            sampler.posterior.checked = True
            comparison = out_of_distribution(sampler, self.noise, self.normalization, limits, sample)
            if comparison.is_ood:
                warnings.warn(comparison.message, DivsegWarning, stacklevel=3)

    def out_of_distribution(self, image: ImageLike | Posterior, *, tile: int | None = None) -> OutOfDistribution:
        """Compare the image's loss with that of the training images.

        Parameters
        ----------
        image : Image, array or Posterior
            A noisy image, or its posterior.
        tile : int, optional
            Side of the network's tiles in pixels; the result does not depend on it.

        Raises
        ------
        ModelError
            If the model holds no losses of training images.
        """
        limits = self.training.get("loss_range")
        if not limits:
            raise ModelError("this model does not hold the loss of its training images; train it with this version")
        return out_of_distribution(self._sampler(image, tile=tile).original, self.noise, self.normalization, limits)

    def draw(
        self, image: ImageLike | Posterior, numbers: Sequence[int], **options: Unpack[SamplingOptions]
    ) -> NDArray[np.float32]:
        """Draw samples by number: the same images that :meth:`sample` yields at these positions.

        Parameters
        ----------
        image : Image, array or Posterior
            As for :meth:`sample`; it is not compared with the training images.
        numbers : sequence of int
            Numbers of the samples, >= 0.
        **options
            `seed`, `batch_size`, `tile`, `precision` and `tta` as for :meth:`sample`.

        Returns
        -------
        array, shape (len(numbers), *image.shape), float32
            In the image's intensity units.
        """
        numbers = [int(k) for k in numbers]
        if not numbers or min(numbers) < 0:
            raise InputError(f"numbers={numbers} must name at least one sample, counted from 0")
        sampler = self._sampler(image, **options)

        def draw(some: Sequence[int]) -> Tensor:
            return self.normalization.denormalize(sampler.draw(some)).reshape(-1, *sampler.shape)

        return drawn_to_host(draw, numbers, sampler.shape, self.device)

    def moments(
        self, image: ImageLike | Posterior, *, n: SampleCount = 32, **options: Unpack[SamplingOptions]
    ) -> RunningMoments:
        """Mean (MMSE) and standard deviation over `n` samples, streamed; parameters as for :meth:`sample`."""
        return moments(self.sample(image, n=n, **options))

    def mmse(
        self, image: ImageLike | Posterior, *, n: SampleCount = 32, **options: Unpack[SamplingOptions]
    ) -> NDArray[np.float32]:
        """Minimum-mean-square-error estimate: the mean of `n` samples; parameters as for :meth:`sample`.

        Returns
        -------
        array, shape of the image, float32
            In the image's intensity units.
        """
        return self.moments(image, n=n, **options).mean.cpu().numpy()

    def estimate(
        self,
        image: ImageLike | Posterior,
        *,
        n: int = 64,
        quantiles: Sequence[float] = (0.05, 0.5, 0.95),
        mode: bool = False,
        bandwidth: float = MAP_BANDWIDTH,
        **options: Unpack[SamplingOptions],
    ) -> Estimates:
        """Mean, standard deviation, exact quantiles and, if asked for, the mode, in one pass over the tiles.

        All `n` samples of a tile are held at once and reduced, so memory does not grow with `n` and the image.

        Parameters
        ----------
        image : Image, array or Posterior
            As for :meth:`sample`.
        n : int
            Number of samples; they are those of :meth:`sample`.
        quantiles : sequence of float
            Probabilities from 0 to 1.
        mode : bool
            Also make the maximum a posteriori (MAP) estimate, by mean shift
            (:func:`divseg.denoise.sampling.estimates.map_estimate`).
        bandwidth : float
            Width of the mean-shift kernel relative to the samples' spread.
        **options
            `seed`, `batch_size`, `tile` and `precision` as for :meth:`sample`.

        Warns
        -----
        DivsegWarning
            If the image is unlike those that the model was trained on; once for each posterior.
        """
        if n < 1:
            raise InputError(f"n={n} samples: at least 1 is needed")
        if not bandwidth > 0:
            raise InputError(f"bandwidth={bandwidth} must be above 0")
        if options.get("tta"):
            raise InputError("estimates are made tile by tile, turned versions of the image are not: leave tta off")
        levels = check_levels(quantiles)
        sampler = self._sampler(image, **options).original
        self._warn_if_ood(sampler)
        return tiled_estimates(sampler, self.normalization, n, levels=levels, mode=mode, bandwidth=bandwidth)
