"""The model folder: everything that sampling needs, in files that are safe to open."""

from __future__ import annotations

import hashlib
import io
import json
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from divseg.denoise.networks.registry import build_network, shape_from_dict
from divseg.denoise.noise import NoiseModel
from divseg.denoise.normalization import Intensity
from divseg.denoise.training.checkpoint import CHECKPOINT, LOG, remove_checkpoint, write_log
from divseg.errors import DivsegError, ModelError, OutputError
from divseg.io import config_hash, write_bytes, write_text

if TYPE_CHECKING:
    from divseg.denoise.divnoising import DivNoising

FORMAT = 1
CONFIG, WEIGHTS, CARD = "config.json", "weights.pt", "README.md"


def _versions() -> dict[str, str]:
    found = {}
    for name in ("divseg", "torch", "numpy"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "uninstalled"
    return found


def check_model_folder(folder: str | Path) -> Path:
    """Make a folder for a model, and make sure that it holds nothing else.

    Raises
    ------
    OutputError
        If the folder holds something that is not a divseg model or a training, or cannot be made.
    """
    folder = Path(folder)
    ours = {CONFIG, CHECKPOINT, LOG}
    if folder.is_dir() and any(folder.iterdir()) and not any((folder / name).is_file() for name in ours):
        raise OutputError(f"{folder} is not empty and holds no divseg model; choose another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the model folder {folder}: {error.strerror}; choose another") from error
    return folder


def fingerprint_model(folder: str | Path) -> str:
    """Return what tells one model folder from another: a hash of its settings, which hold the weights' checksum."""
    return config_hash({"config": (Path(folder) / CONFIG).read_text(encoding="utf-8")})


def save_model(model: DivNoising, folder: str | Path) -> Path:
    """Write a model folder: ``config.json``, ``weights.pt``, ``training.jsonl`` and a model card.

    Raises
    ------
    OutputError
        If the folder holds something that is not a divseg model, or cannot be written.
    """
    folder = check_model_folder(folder)
    buffer = io.BytesIO()
    torch.save({k: v.cpu().contiguous() for k, v in model.network.state_dict().items()}, buffer)
    weights = buffer.getvalue()
    config = {
        "format": FORMAT,
        "network": model.network.config.to_dict(),
        "noise": model.noise.to_dict(),
        "mean": model.mean,
        "sd": model.sd,
        "training": model.training,
        "versions": _versions(),
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
    }
    write_bytes(folder / WEIGHTS, weights)
    write_log(folder, model.history)
    write_text(folder / CARD, _card(model, config))
    write_text(folder / CONFIG, json.dumps(config, indent=2) + "\n")  # it makes the folder a model
    remove_checkpoint(folder)
    return folder


def load_parts(folder: str | Path) -> dict[str, Any]:
    """Read a model folder back: network, noise, mean, sd, training record and history.

    Raises
    ------
    ModelError
        If the folder or a file in it is missing, damaged, or from a newer version.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ModelError(f"there is no model folder {folder}")
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise ModelError(f"{folder} is not a complete model folder: {name} is missing; train again or copy it")
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        known = config["format"]
        if known != FORMAT:
            raise ModelError(
                f"{folder / CONFIG} has model format {known!r}, this version reads {FORMAT}; update divseg"
            )
        network = build_network(shape_from_dict(config["network"]))
        noise = NoiseModel.from_dict(config["noise"])
        mean, sd = Intensity.of(config["mean"], config["sd"]).plain
        training = dict(config["training"])
        digest = config["weights_sha256"]
    except DivsegError as error:
        raise ModelError(f"{folder / CONFIG}: {error}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{folder / CONFIG} is damaged ({type(error).__name__}: {error}); train again or restore the file"
        ) from error
    try:
        weights = (folder / WEIGHTS).read_bytes()
        if hashlib.sha256(weights).hexdigest() != digest:
            raise ModelError(
                f"{folder / WEIGHTS} is damaged (its checksum is not the one in {CONFIG}); train again or restore it"
            )
        network.load_state_dict(torch.load(io.BytesIO(weights), map_location="cpu", weights_only=True))
    except ModelError:
        raise
    except Exception as error:  # torch raises many kinds for a file it cannot read
        raise ModelError(f"{folder / WEIGHTS} does not fit {CONFIG} ({error}); train again or restore it") from error
    return {
        "network": network,
        "noise": noise,
        "mean": mean,
        "sd": sd,
        "training": training,
        "history": _read_log(folder / LOG),
    }


def read_training(folder: str | Path) -> dict[str, Any]:
    """Return what config.json of a model folder says of its training, without loading the weights.

    Raises
    ------
    ModelError
        If it cannot be read.
    """
    path = Path(folder) / CONFIG
    try:
        return dict(json.loads(path.read_text(encoding="utf-8"))["training"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path} cannot be read ({type(error).__name__}: {error}); train again") from error


def _read_log(path: Path) -> list[dict[str, float]]:
    """Read the training log; it is for plots only, so a missing one is no error."""
    if not path.is_file():
        return []
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except ValueError as error:
        raise ModelError(f"{path} is damaged ({error}); delete it or restore it") from error


def _figures(values: float | list[float]) -> str:
    return ", ".join(f"{v:.6g}" for v in (values if isinstance(values, list) else [values]))


def _card(model: DivNoising, config: dict[str, Any]) -> str:
    t = model.training
    return f"""# DivNoising model

A fully convolutional variational autoencoder trained on noisy images alone (Prakash et al., ICLR 2021).
Load it with `divseg.DivNoising.load(FOLDER)` or `divseg run ... --model FOLDER`.

| | |
| --- | --- |
| network | {json.dumps(config["network"])} |
| noise model | {model.noise.describe()} |
| intensities | mean {_figures(model.mean)}, standard deviation {_figures(model.sd)} |
| trained on | {t.get("images", "?")} images, {t.get("megapixels", float("nan")):.0f} megapixels of crops |
| steps, seconds | {t.get("steps")}, {t.get("seconds", float("nan")):.0f} |
| device | {t.get("device")} ({t.get("precision")}) |
| validation loss, KL (nats per pixel) | {t.get("loss", float("nan")):.4f}, {t.get("kl_per_pixel", float("nan")):.4f} |
| loss on training crops; validated on | {t.get("train_loss", float("nan")):.4f}; {t.get("validation", "?")} |
| latent channels in use | {t.get("active_latents")} |
| seed, end of training | {t.get("seed")}, {t.get("stopped")} |
| versions | {json.dumps(config["versions"])} |

Use it on images of the same kind, camera and settings only: on others its samples can look sharp and be wrong.
Noise must be independent from pixel to pixel. The licence of the weights is yours to state.
"""
