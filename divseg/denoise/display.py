"""How a model shows itself: one line at a prompt, a table with the training curve in a notebook."""

from __future__ import annotations

import base64
import html as escaping
import io
from collections.abc import Sequence

from divseg.denoise.model_folder import ModelParts


def facts(parts: ModelParts) -> dict[str, str]:
    """Return what is worth knowing of a model: network, noise model, normalization, training."""
    settings = parts.network.config.to_dict()
    kind = settings.pop("kind")
    count = sum(p.numel() for p in parts.network.parameters())
    out = {
        "network": f"{kind} ({', '.join(f'{name}={value}' for name, value in settings.items())})",
        "parameters": f"{count:,}",
        "noise": parts.noise.describe(),
        "normalization": f"mean {_numbers(parts.normalization.mean)}; std {_numbers(parts.normalization.std)}",
    }
    record = parts.training
    if "steps" in record:
        out["training"] = f"{record['steps']} steps in {record['seconds']:.0f} s on {record['device']}"
        out["validation loss"] = f"{record['loss']:.4f} nats per pixel (KL {record['kl_per_pixel']:.4f})"
    return out


def text(parts: ModelParts) -> str:
    """Return the model in one line."""
    shown = facts(parts)
    words = [shown["network"], f"{shown['parameters']} parameters", shown["noise"], shown.get("training", "no record")]
    return f"DivNoising({'; '.join(words)})"


def html(parts: ModelParts) -> str:
    """Return a table of the model's facts, with the training curve below it if matplotlib is installed."""
    rows = "".join(
        f"<tr><th style='text-align:left'>{escaping.escape(name)}</th>"
        f"<td style='text-align:left'>{escaping.escape(value)}</td></tr>"
        for name, value in facts(parts).items()
    )
    table = f"<table><caption>DivNoising</caption>{rows}</table>"
    picture = training_curve(parts.history)
    if picture is None:
        return table
    data = base64.b64encode(picture).decode("ascii")
    return f'{table}<img alt="Loss during training" src="data:image/png;base64,{data}">'


def training_curve(history: Sequence[dict[str, float]]) -> bytes | None:
    """Draw the loss over the training steps as a PNG; None without a log or without matplotlib."""
    if not history:
        return None
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return None
    figure = Figure(figsize=(4.5, 2.5), dpi=100, layout="constrained")
    axes = figure.add_subplot()
    for name, label in (("loss", "training"), ("val_loss", "validation")):
        points = [(row["step"], row[name]) for row in history if name in row]
        if points:
            axes.plot(*zip(*points, strict=True), label=label)
    axes.set_xlabel("step")
    axes.set_ylabel("loss (nats per pixel)")
    axes.legend(frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.6g}" for value in values)
