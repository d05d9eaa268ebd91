"""How fast samples are drawn, beside the reference's loop and beside what the device can multiply."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.gpu.agreement import noise, untrained
from benchmarks.gpu.card import Card, Row
from benchmarks.speed.reference import plain_copy, reference_samples
from divseg import DivNoising


def peak(card: Card, dtype: torch.dtype) -> float:
    """Return the floating-point operations a second of one large product of matrices, in float32 without TF32."""
    side = 512 if card.small else 8192
    a = torch.randn(side, side, device=card.device, dtype=dtype)
    allowed = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    try:
        return 2 * side**3 / card.seconds(lambda: a @ a)
    finally:
        torch.backends.cuda.matmul.allow_tf32 = allowed


def operations_a_sample(model: DivNoising, side: int) -> float:
    """Return the floating-point operations of decoding one sample."""
    image = noise(side)
    posterior = model.posterior(image)
    with FlopCounterMode(display=False) as counter:
        next(model.sample(posterior, n=1))
    return float(counter.get_total_flops())


def rows(card: Card) -> Iterator[Row]:
    """Yield the times of many samples of one image, all on the host at the end, encoding included."""
    n = card.count(64)
    peaks = {"exact": peak(card, torch.float32), "bf16": peak(card, torch.bfloat16)}
    for name, value in peaks.items():
        yield f"peak of {name}, measured by a product of matrices", f"{value / 1e12:.1f} TFLOP/s", ""
    for network, sides in (("flat", (512, 1024)), ("hierarchical", (512, 1024))):
        model = untrained(network, card.device)
        for side in (card.side(s) for s in sides):
            image, what = noise(side), f"{network}: {n} samples of {side}x{side}"
            work = n * operations_a_sample(model, side)
            base = None
            if network == "flat":
                reference = plain_copy(model.network, card.device)
                base = card.seconds(lambda r=reference, x=image, m=model: reference_samples(r, x, n, m.normalization))
                yield f"{what}, the reference's loop", f"{1e3 * base:.0f} ms", ""
            for precision, factor in (("exact", 2), ("bf16", 6)):

                def draw(model: DivNoising = model, image=image, precision: str = precision) -> None:
                    model.draw(image, range(n), precision=precision)

                taken = card.seconds(draw)
                told = f"{1e3 * taken:.0f} ms, {work / taken / peaks[precision]:.0%} of the peak"
                asked = "1 s" if network == "hierarchical" and precision == "exact" else ""
                if base is not None:
                    told, asked = f"{told}, {base / taken:.1f} times as fast", f"{factor} times as fast"
                yield f"{what}, {precision}", told, asked
