"""The reference implementation's way of training and sampling, stated again, to measure against.

Read from the public code of DivNoising (juglab/DivNoising): one sample at a time, NCHW memory layout, gradients
recorded, one copy to the host a sample; training in float32 with batches of 32 patches of 128x128 pixels, Adam at
1e-3, KL weight 1 from the first step, weights as torch draws them.
"""

from __future__ import annotations

import copy

import numpy as np
import torch

from divseg.denoise.networks.flat import FlatNet
from divseg.denoise.noise import NoiseModel
from divseg.denoise.normalization import Normalization
from divseg.denoise.training.elbo import elbo_terms


def plain_copy(network: FlatNet, device: torch.device) -> FlatNet:
    """Return the network in the ordinary memory layout, with gradients on, as the reference leaves it."""
    twin = copy.deepcopy(network).to(device)
    for parameter in twin.parameters():
        parameter.data = parameter.data.contiguous(memory_format=torch.contiguous_format)
        parameter.requires_grad_(True)
    return twin


def reference_samples(network: FlatNet, noisy: np.ndarray, n: int, normalization: Normalization) -> list[np.ndarray]:
    """Draw samples as the reference does; sides must be multiples of the network's stride."""
    device = next(network.parameters()).device
    x = torch.from_numpy(normalization.normalize(noisy[None]))[None].to(device)
    mu, logvar = network.encoder(x)
    samples = []
    for _ in range(n):
        z = mu + torch.exp(0.5 * logvar) * torch.randn_like(mu)
        image = network.decoder(z)
        samples.append(image.detach().cpu().numpy()[0, 0] * normalization.std[0] + normalization.mean[0])
    return samples


class ReferenceTraining:
    """The reference's training recipe on patches that are drawn once and kept, augmented eightfold.

    Parameters
    ----------
    images : list of array, shape (Y, X)
    normalization : Normalization
    noise : NoiseModel
    seed : int
    patches : int
        Patches drawn before augmentation.
    """

    def __init__(
        self,
        images: list[np.ndarray],
        normalization: Normalization,
        noise: NoiseModel,
        *,
        seed: int,
        device: torch.device,
        batch: int = 32,
        patch: int = 128,
        patches: int = 1024,
    ) -> None:
        torch.manual_seed(seed)
        self.network = FlatNet().to(device)
        self.noise, self.normalization, self.batch, self.device = noise, normalization, batch, device
        self.optimiser = torch.optim.Adam(self.network.parameters(), lr=1e-3)
        rng = np.random.default_rng(seed)
        stack = np.empty((patches, patch, patch), np.float32)
        for slot in stack:
            image = images[rng.integers(len(images))]
            y, x = (int(rng.integers(s - patch + 1)) for s in image.shape)
            slot[:] = image[y : y + patch, x : x + patch]
        turned = [np.rot90(stack, k, axes=(1, 2)) for k in range(4)]
        every = np.concatenate([*turned, *(t[:, ::-1] for t in turned)])
        self.patches = normalization.normalize(every[None])[0]
        self.rng = rng
        self.pixels = 0

    def step(self) -> tuple[float, float]:
        """Take one step; return the loss and the KL per pixel."""
        chosen = self.rng.integers(len(self.patches), size=self.batch)
        x = torch.from_numpy(self.patches[chosen][:, None]).to(self.device)
        terms = elbo_terms(self.network, self.noise, x, self.normalization, self.network.noise_for(x))
        loss = terms.loss.mean()
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        self.pixels += x.numel()
        return float(loss.detach()), float(terms.kl.detach().mean())
