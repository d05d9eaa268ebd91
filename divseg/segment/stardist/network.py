"""StarDist's networks in torch, with the weights that Keras trained.

The architectures are those of Schmidt et al., Cell Detection with Star-convex Polygons, MICCAI 2018 (U-Net) and
Weigert et al., Star-convex Polyhedra for 3D Object Detection, WACV 2020 (ResNet), as built by CSBDeep and StarDist.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from divseg.errors import ModelError
from divseg.segment.stardist.config import ModelConfig
from divseg.segment.stardist.weights import LayerWeights, WeightFile

STRIP_BYTES = 16 * 2**20
"""Largest activation of a strip: small enough that malloc reuses its pages, large enough for a cheap halo."""

_NORM_EPSILON = 1e-3  # of Keras' batch normalisation

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": lambda x: x,
    "relu": torch.relu_,
    "relu6": F.relu6,
    "elu": F.elu,
    "selu": F.selu,
    "softplus": F.softplus,
    "softsign": F.softsign,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "swish": F.silu,
    "silu": F.silu,
    "gelu": F.gelu,
    "exponential": torch.exp,
}
"""Keras' activations that need no parameters. ``leaky_relu`` is not one: its slope depends on Keras' version."""


class Conv(nn.Module):
    """Convolution with Keras' ``same`` padding, batch normalisation folded into its weights, and an activation.

    Attributes
    ----------
    name : str, optional
        Keras name if StarDist gives one.
    normed : bool
        Whether a batch normalisation follows.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: tuple[int, ...],
        activation: str = "linear",
        name: str | None = None,
        stride: tuple[int, ...] | None = None,
        normed: bool = False,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.name, self.normed, self.has_bias = name, normed, bias
        self.stride = stride or (1,) * len(kernel)
        self.weight = nn.Parameter(torch.empty(outputs, inputs, *kernel), requires_grad=False)
        self.bias = nn.Parameter(torch.zeros(outputs), requires_grad=False)
        # lengths are divisible by strides: k - s pixels are missing in all, the odd one at the end
        missing = [max(k - s, 0) for k, s in zip(kernel, self.stride, strict=True)]
        self.padding: tuple[int, ...] = tuple(m // 2 for m in missing)
        self.uneven: list[int] | None = None
        if any(m % 2 for m in missing):
            self.uneven = [p for m in reversed(missing) for p in (m // 2, m - m // 2)]
            self.padding = (0,) * len(kernel)
        self.convolve = {2: F.conv2d, 3: F.conv3d}[len(kernel)]
        self.activation = ACTIVATIONS[activation]

    def forward(self, x: Tensor) -> Tensor:
        """Convolve and activate."""
        if self.uneven:
            x = F.pad(x, self.uneven)
        weight: Tensor = self.weight
        if x.shape[1] == 1 and x.ndim == 4 and x.device.type == "cpu":
            x, weight = with_empty_channel(x), with_empty_channel(weight)
        return self.activation(self.convolve(x, weight, self.bias, self.stride, self.padding))


def with_empty_channel(x: Tensor) -> Tensor:
    """Add a channel of zeros to a tensor (N, 1, Y, X), channels last in memory.

    With one channel both layouts look alike to PyTorch, which then takes the slow one, for the result as well: on a
    CPU a first layer of 16 filters takes 2 ms instead of 20 for 512x512 pixels, with the same result to the bit.
    Volumes gain nothing by it.
    """
    return F.pad(x, (0, 0, 0, 0, 0, 1)).contiguous(memory_format=torch.channels_last)


class MaxPool(nn.Module):
    """Maximum over blocks; on a CPU axis by axis, which is faster."""

    def __init__(self, size: tuple[int, ...]) -> None:
        super().__init__()
        self.size = size
        self.pool = {2: F.max_pool2d, 3: F.max_pool3d}[len(size)]

    def forward(self, x: Tensor) -> Tensor:
        """Pool lengths that are divisible by the size."""
        if x.device.type != "cpu" or max(self.size) > 2:
            return self.pool(x, self.size)
        for axis, size in enumerate(self.size, start=2):
            if size == 2:
                every = (slice(None),) * axis
                x = torch.maximum(x[(*every, slice(None, None, 2))], x[(*every, slice(1, None, 2))])
        return x


class Residual(nn.Module):
    """Block of convolutions beside a shortcut, which is a 1x1 convolution if the shape changes."""

    def __init__(self, config: ModelConfig, inputs: int, outputs: int, stride: tuple[int, ...]) -> None:
        super().__init__()
        norm, act = config.batch_norm, config.activation
        self.convs = nn.Sequential()
        for i in range(config.convs):
            kind = "linear" if i == config.convs - 1 else act  # the last is activated after the addition
            step = None if i else stride
            self.convs.append(Conv(outputs if i else inputs, outputs, config.kernel, kind, None, step, norm, not norm))
        changes = max(stride) > 1 or inputs != outputs
        ones = (1,) * config.ndim
        self.shortcut = Conv(inputs, outputs, ones, "linear", None, stride, False, not norm) if changes else None
        self.activation = ACTIVATIONS[act]

    def forward(self, x: Tensor) -> Tensor:
        """Add the convolutions to the input."""
        return self.activation(self.convs(x) + (x if self.shortcut is None else self.shortcut(x)))


class UNet(nn.Module):
    """CSBDeep's U-Net: pooling down, nearest-neighbour upsampling, skip connections."""

    def __init__(self, config: ModelConfig, inputs: int) -> None:
        super().__init__()
        c = config
        self.pool = MaxPool(c.pool)
        widths = [int(c.filters * c.expansion**n) for n in range(c.depth + 1)]

        def chain(n_in: int, outputs: list[int], names: list[str], last: str) -> nn.Sequential:
            sizes = [n_in, *outputs]
            acts = [c.activation] * (len(outputs) - 1) + [last]
            return nn.Sequential(
                *(
                    Conv(sizes[i], sizes[i + 1], c.kernel, acts[i], c.prefix + names[i], None, c.batch_norm)
                    for i in range(len(outputs))
                )
            )

        up_names = [*range(c.convs - 1), c.convs]  # CSBDeep leaves one number out
        self.down = nn.ModuleList()
        for n in range(c.depth):
            names = [f"down_level_{n}_no_{i}" for i in range(c.convs)]
            self.down.append(chain(inputs, [widths[n]] * c.convs, names, c.activation))
            inputs = widths[n]
        below = [widths[max(0, n - 1)] for n in range(c.depth + 1)]
        names = [f"middle_{i}" for i in up_names]
        self.middle = chain(inputs, [widths[c.depth]] * (c.convs - 1) + [below[c.depth]], names, c.activation)
        inputs = below[c.depth]
        self.up = nn.ModuleList()
        for n in reversed(range(c.depth)):
            names = [f"up_level_{n}_no_{i}" for i in up_names]
            last = c.activation if n else c.last_activation
            self.up.append(chain(inputs + widths[n], [widths[n]] * (c.convs - 1) + [below[n]], names, last))
            inputs = below[n]
        self.outputs = inputs

    def forward(self, x: Tensor) -> Tensor:
        """Go down and up again."""
        skipped = []
        for level in self.down:
            x = level(x)
            skipped.append(x)
            x = self.pool(x)
        x = self.middle(x)
        for level, skip in zip(self.up, reversed(skipped), strict=True):
            x = F.interpolate(x, size=skip.shape[2:], mode="nearest")
            x = level(torch.cat([x, skip], 1))
        return x


class StarDistNet(nn.Module):
    """Object probabilities and distances to the boundary, on the model's grid.

    Images come as (B, C, Y, X) or (B, C, Z, Y, X), normalised, with lengths divisible by ``config.divisor``.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = c = config
        stem: list[nn.Module] = []
        step = [1] * c.ndim
        inputs = c.n_channels
        if c.backbone == "unet":
            while tuple(step) != c.grid:
                pool = tuple(1 + (g > s) for g, s in zip(c.grid, step, strict=True))
                step = [s * p for s, p in zip(step, pool, strict=True)]
                for _ in range(c.convs):
                    stem.append(Conv(inputs, c.filters, c.kernel, c.activation))
                    inputs = c.filters
                stem.append(MaxPool(pool))
            self.stem = nn.Sequential(*stem)
            self.body: nn.Module = UNet(c, inputs)
            inputs = self.body.outputs
        else:
            self.stem = nn.Sequential(Conv(inputs, c.filters, (7,) * c.ndim), Conv(c.filters, c.filters, (3,) * c.ndim))
            blocks, inputs, width = [], c.filters, c.filters
            for _ in range(c.depth):
                pool = tuple(1 + (g > s) for g, s in zip(c.grid, step, strict=True))
                step = [s * p for s, p in zip(step, pool, strict=True)]
                width = width * 2 if max(pool) > 1 else width
                blocks.append(Residual(c, inputs, width, pool))
                inputs = width
            self.body = nn.Sequential(*blocks)
        ones = (1,) * c.ndim
        self.features = Conv(inputs, c.features, c.kernel, c.activation, "features") if c.features else nn.Identity()
        inputs = c.features or inputs
        self.prob = Conv(inputs, 1, ones, "linear", "prob")
        self.dist = Conv(inputs, c.n_rays, ones, "linear", "dist")

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return object probabilities (B, ...) and raw distances (B, ..., n_rays)."""
        radius = self.config.kernel[0] // 2
        if self.config.backbone == "unet" and len(self.stem):
            reach = sum(self.config.convs * radius * 2**i for i in range(max(self.config.grid).bit_length() - 1))
            factor = self.config.grid[0]
            # a strip begins on a grid point
            x = in_strips(self.stem, x, -(-reach // factor) * factor, factor, self.config.filters)
        else:
            x = self.stem(x)
        x = self.body(x)
        out = in_strips(self._heads, x, radius, 1, max(self.config.features, x.shape[1])).movedim(1, -1)
        return torch.sigmoid(out[..., 0]), out[..., 1:]

    def _heads(self, x: Tensor) -> Tensor:
        x = self.features(x).movedim(1, -1)
        # convolutions of one pixel are a product of matrices
        weight = torch.cat([self.prob.weight, self.dist.weight]).flatten(1)
        return F.linear(x, weight, torch.cat([self.prob.bias, self.dist.bias])).movedim(-1, 1)


@dataclass(frozen=True)
class Span:
    """Pixels from start to stop that a tile yields, and from low to high that it looks at."""

    start: int
    stop: int
    low: int
    high: int


def spans(length: int, step: int, halo: int) -> list[Span]:
    """Cut an axis into pieces of `step` pixels, which look `halo` pixels beyond their ends."""
    stops = [(start, min(start + step, length)) for start in range(0, length, step)]
    return [Span(start, stop, max(start - halo, 0), min(start + step + halo, length)) for start, stop in stops]


def in_strips(f: Callable[[Tensor], Tensor], x: Tensor, reach: int, factor: int, width: int) -> Tensor:
    """Apply local layers strip by strip along the first axis, if a CPU gains by it.

    An activation of a whole image leaves the cache, and the allocator gets fresh pages from the system for it each
    time; both cost as much as the arithmetic of the layers with many pixels.

    Parameters
    ----------
    f : callable
        Layers whose output row r depends on the input rows from ``factor*r - reach`` to ``factor*(r+1) + reach``.
    x : tensor, shape (B, C, rows, ...)
        Input of the layers.
    reach, factor : int
        See `f`; `reach` is a multiple of `factor`.
    width : int
        Channels of the widest activation.
    """
    rows = x.shape[2]
    row_bytes = 4 * width * x[:, 0, 0].numel()
    step = max(STRIP_BYTES // row_bytes // factor, 1) * factor
    if x.device.type != "cpu" or step >= rows or step < 2 * reach:
        return f(x)
    pieces = []
    for s in spans(rows, step, reach):
        piece = f(x[:, :, s.low : s.high])
        first = (s.start - s.low) // factor
        pieces.append(piece[:, :, first : first + (s.stop - s.start) // factor])
    return torch.cat(pieces, 2)


def build_network(config: ModelConfig, weights: WeightFile) -> StarDistNet:
    """Build a network and fill in its weights.

    Raises
    ------
    ModelError
        Unknown activation, or weights of another network.
    """
    for activation in (config.activation, config.last_activation):
        if activation not in ACTIVATIONS:
            raise ModelError(
                f"the model's activation {activation!r} is unknown here; divseg has {', '.join(ACTIVATIONS)}"
            )
    with torch.device("meta"):  # nothing is allocated before it is known that the weights are there
        size = sum(value.numel() for value in StarDistNet(config).parameters())
    there = sum(array.size for layer in weights.layers for array in layer.arrays)
    if size > 2 * there + 1024:
        raise _misfit(weights, f"it has {size} weights, the file {there}")
    net = StarDistNet(config)
    convs = list(_creation_order(net))
    kernels = [layer for layer in weights.layers if not layer.is_norm]
    norms = sorted((layer for layer in weights.layers if layer.is_norm), key=lambda layer: layer.number)
    if weights.named:
        by_name = {layer.name: layer for layer in kernels}
        names = {conv.name for conv in convs if conv.name} | {"features_class", "prob_class"}
        unnamed = iter(sorted((k for k in kernels if k.name not in names), key=lambda layer: layer.number))
        chosen = [by_name.get(conv.name) if conv.name else next(unnamed, None) for conv in convs]
        left = len(list(unnamed))
    else:
        convs = list(_layer_order(net))
        numbered = sorted(kernels, key=lambda layer: layer.number)
        wanted = _without_classes(numbered, config)
        chosen = [*wanted, *[None] * len(convs)][: len(convs)]
        left = max(len(wanted) - len(convs), 0)
    normed = [conv for conv in _creation_order(net) if conv.normed]
    if left or len(norms) != len(normed):
        raise _misfit(weights, f"{left} layers too many, {len(norms)} of {len(normed)} batch normalisations")
    norm_of = dict(zip(normed, norms, strict=True))
    for conv, layer in zip(convs, chosen, strict=True):
        _fill(conv, layer, norm_of.get(conv), weights)
    return net.eval()


def _fill(conv: Conv, layer: LayerWeights | None, norm: LayerWeights | None, file: WeightFile) -> None:
    what = conv.name or "a convolution"
    if layer is None:
        raise _misfit(file, f"{what} is missing")
    kernel = torch.from_numpy(layer.arrays[0])
    kernel = kernel.movedim((-1, -2), (0, 1))  # Keras: (..., in, out)
    if kernel.shape != conv.weight.shape or len(layer.arrays) != 1 + conv.has_bias:
        shapes = [tuple(a.shape) for a in layer.arrays]
        raise _misfit(file, f"{what} ({layer.name}) has arrays of shapes {shapes} for {tuple(conv.weight.shape)}")
    bias = torch.from_numpy(layer.arrays[1]) if conv.has_bias else torch.zeros(kernel.shape[0])
    if norm is not None:
        if len(norm.arrays) != 4 or any(a.shape != bias.shape for a in norm.arrays):
            raise _misfit(file, f"normalisation {norm.name} does not fit {what}")
        gamma, beta, mean, variance = (torch.from_numpy(a).double() for a in norm.arrays)
        scale = gamma / torch.sqrt(variance + _NORM_EPSILON)
        bias = beta + (bias.double() - mean) * scale
        kernel = kernel.double() * scale.reshape(-1, *[1] * (kernel.ndim - 1))
    conv.weight.copy_(kernel)
    conv.bias.copy_(bias)
    # in the layout of the images, or each call would convert them
    layout = torch.channels_last if kernel.ndim == 4 else torch.channels_last_3d
    conv.weight.data = conv.weight.data.contiguous(memory_format=layout)


def _creation_order(net: StarDistNet) -> Iterator[Conv]:
    """Yield convolutions in the order in which StarDist makes them, which Keras' own names count."""
    for part in (net.stem, net.body, net.features, net.prob, net.dist):
        yield from (m for m in part.modules() if isinstance(m, Conv))


def _layer_order(net: StarDistNet) -> Iterator[Conv]:
    """Yield convolutions in the order of Keras' ``model.layers``: by depth, shortcuts before what they run beside."""
    convs = list(_creation_order(net))
    for i, conv in enumerate(convs):
        follower = convs[i + 1] if i + 1 < len(convs) else None
        # without a normalisation the shortcut stands as deep as the last convolution of its block
        if follower is not None and follower in _shortcuts(net) and not conv.normed:
            convs[i], convs[i + 1] = follower, conv
    return iter(convs)


def _shortcuts(net: StarDistNet) -> list[nn.Module]:
    return [m.shortcut for m in net.modules() if isinstance(m, Residual) and m.shortcut is not None]


def _without_classes(layers: list[LayerWeights], config: ModelConfig) -> list[LayerWeights]:
    """Drop the layers of a multi-class head: among the last ones, each behind its single-class counterpart."""
    if config.n_classes is None:
        return layers
    heads = 3
    if config.features:
        return [*layers[: -heads - 2], *layers[-heads - 2 : -heads - 1], *layers[-heads:-1]]
    return layers[:-1]


def _misfit(file: WeightFile, why: str) -> ModelError:
    return ModelError(f"{file.path} does not hold the weights of the network in config.json beside it: {why}")
