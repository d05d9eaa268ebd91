"""The model folder: everything that sampling needs, in files that are safe to open."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from divseg.denoise.training.checkpoint import CHECKPOINT, LOG, SET_ASIDE, remove_checkpoint
from divseg.errors import DAMAGE, ONLY_NOISE, UNFINISHED, DivsegError, ModelError, OutputError, brief, one_line
from divseg.io import config_hash, write_bytes, write_text
from divseg.io.atomic import PART
from divseg.io.json_file import read_json_object
from divseg.io.json_lines import read_json_lines, write_json_lines
from divseg.packages import versions

if TYPE_CHECKING:
    from divseg.denoise.networks.base import LatentNet
    from divseg.denoise.noise import NoiseModel
    from divseg.denoise.normalization import Normalization

FORMAT = 2
CONFIG, WEIGHTS, CARD = "config.json", "weights.pt", "README.md"


@dataclass(frozen=True)
class ModelParts:
    """What makes a model.

    Attributes
    ----------
    network : LatentNet
        The trained network.
    noise : NoiseModel
        Distribution of a noisy pixel around its clean value, in intensity units.
    normalization : Normalization
        Mean and standard deviation of the training images, channel by channel.
    training : dict
        Record of the training: steps, seconds, KL per pixel, device and others.
    history : list of dict
        Lines of the training log.
    """

    network: LatentNet
    noise: NoiseModel
    normalization: Normalization
    training: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)


def check_model_folder(folder: str | Path) -> Path:
    """Create a folder for a model, and make sure that it holds nothing else.

    Raises
    ------
    OutputError
        If the folder holds something that is not a divseg model or a training, or cannot be created.
    """
    folder = Path(folder)
    ours = {CONFIG, CHECKPOINT, SET_ASIDE, LOG}
    if folder.is_dir():
        names = [path.name for path in folder.iterdir() if path.suffix != PART]  # a killed process leaves such files
        if names and not ours.intersection(names):
            raise OutputError(f"{folder} is not empty and holds no divseg model; choose another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot create the model folder {folder}: {error.strerror}; choose another") from error
    return folder


def fingerprint_model(folder: str | Path) -> str:
    """Return what tells one model folder from another: a hash of its settings, which hold the weights' checksum."""
    return config_hash({"config": (Path(folder) / CONFIG).read_text(encoding="utf-8")})


def read_training(folder: str | Path) -> dict[str, Any]:
    """Return the record of the training of a model folder, without loading the weights.

    Raises
    ------
    ModelError
        If it cannot be read.
    """
    path = Path(folder) / CONFIG
    try:
        return dict(read_json_object(path)["training"])
    except DAMAGE as error:
        raise ModelError(f"{path} cannot be read ({type(error).__name__}: {one_line(error)}); train again") from error


def save_model(parts: ModelParts, folder: str | Path) -> Path:
    """Write a model folder: ``config.json``, ``weights.pt``, ``training.jsonl`` and a model card.

    Raises
    ------
    OutputError
        If the folder holds something that is not a divseg model, or cannot be written.
    """
    import torch

    folder = check_model_folder(folder)
    buffer = io.BytesIO()
    torch.save({k: v.cpu().contiguous() for k, v in parts.network.state_dict().items()}, buffer)
    weights = buffer.getvalue()
    config = {
        "format": FORMAT,
        "network": parts.network.config.to_dict(),
        "noise": parts.noise.to_dict(),
        **parts.normalization.to_config(),
        "training": parts.training,
        "versions": versions(),
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
    }
    write_bytes(folder / WEIGHTS, weights)
    write_json_lines(folder / LOG, parts.history)
    write_text(folder / CARD, _card(parts, config))
    write_text(folder / CONFIG, json.dumps(config, indent=2) + "\n")  # last: it makes the folder a model
    remove_checkpoint(folder)
    return folder


def check_model(folder: str | Path) -> tuple[dict[str, Any], bytes]:
    """Return the settings and the weights of a model folder, whole and of this version; torch is not needed for it.

    Raises
    ------
    ModelError
        If the folder or a file in it is missing, damaged, or from another version.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ModelError(f"there is no model folder {folder}")
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise ModelError(f"{folder} is not a complete model folder: {name} is missing; train again or copy it")
    try:
        config = read_json_object(folder / CONFIG)
        version = config["format"]
        if version != FORMAT:
            raise ModelError(
                f"model format {brief(version)}, this version reads {FORMAT}; update divseg or train again"
            )
        digest = config["weights_sha256"]
        weights = (folder / WEIGHTS).read_bytes()
    except ModelError:
        raise
    except DAMAGE as error:
        raise _damaged(folder, error) from error
    if hashlib.sha256(weights).hexdigest() != digest:
        raise ModelError(
            f"{folder / WEIGHTS} is damaged (its checksum is not the one in {CONFIG}); train again or restore it"
        )
    return config, weights


def load_parts(folder: str | Path) -> ModelParts:
    """Read a model folder back.

    Raises
    ------
    ModelError
        If the folder or a file in it is missing, damaged, or from another version.
    """
    import torch

    from divseg.denoise.networks.registry import build_network, config_from_dict
    from divseg.denoise.noise import NoiseModel
    from divseg.denoise.normalization import Normalization

    folder = Path(folder)
    config, weights = check_model(folder)
    try:
        network_config = config_from_dict(config["network"])
        with torch.device("meta"):  # nothing is allocated before it is known that the weights are there
            there = build_network(network_config).state_dict().values()
        if (n_bytes := sum(value.numel() * value.element_size() for value in there)) > len(weights):
            raise ModelError(
                f"the network has {n_bytes} bytes of weights, but {WEIGHTS} only {len(weights)}; "
                "train again or restore the files"
            )
        network = build_network(network_config)
        noise = NoiseModel.from_dict(config["noise"])
        normalization = Normalization.from_config(config["mean"], config["std"])
        if len(normalization.mean) != network_config.channels:
            raise ModelError(f"{len(normalization.mean)} means for {network_config.channels} channels")
        training = _record(config["training"])
    except DivsegError as error:
        raise ModelError(f"{folder / CONFIG}: {error}") from error
    except DAMAGE as error:
        raise _damaged(folder, error) from error
    try:
        network.load_state_dict(torch.load(io.BytesIO(weights), map_location="cpu", weights_only=True))
    except Exception as error:  # torch raises many kinds for a file it cannot read
        raise ModelError(
            f"{folder / WEIGHTS} does not fit {CONFIG} ({_reason(error)}); train again or restore it"
        ) from error
    return ModelParts(network, noise, normalization, training, _history(folder / LOG))


def _record(values: Any) -> dict[str, Any]:
    """Return the record of a training; ValueError or KeyError if a figure that is shown is missing or not a number."""
    record = dict(values)
    if "steps" in record:
        for name in ("steps", "seconds", "loss", "kl_per_pixel"):
            if isinstance(record[name], bool) or not isinstance(record[name], int | float):
                raise ValueError(f"{name} of the training is {brief(record[name])}")
        record["device"] = brief(record["device"]) if not isinstance(record["device"], str) else record["device"][:100]
    return record


def _damaged(folder: Path, error: Exception) -> ModelError:
    what = f"{type(error).__name__}: {one_line(error)}"
    return ModelError(f"{folder / CONFIG} is damaged ({what}); train again or restore the file")


def _reason(error: Exception) -> str:
    if isinstance(error, pickle.UnpicklingError):
        return "it holds Python objects, which are not opened: they could run code"
    return one_line(error)


def _history(path: Path) -> list[dict[str, float]]:
    """Read the training log; it serves plots only, so a missing one is not an error."""
    if not path.is_file():
        return []
    rows, damaged = read_json_lines(path)
    if damaged:
        raise ModelError(f"{path}: line {damaged[0]} is damaged; delete the line or restore the file")
    return rows


def _figures(values: float | list[float]) -> str:
    return ", ".join(f"{v:.6g}" for v in (values if isinstance(values, list) else [values]))


def _card(parts: ModelParts, config: dict[str, Any]) -> str:
    t = parts.training
    converged = UNFINISHED.says("; ".join(t["shortfalls"])) if t.get("shortfalls") else "yes, as far as can be told"
    if t.get("only_noise"):
        converged = ONLY_NOISE.lead
    return f"""# DivNoising model

A fully convolutional variational autoencoder trained on noisy images alone (Prakash et al., ICLR 2021).
Load it with `divseg.DivNoising.load(FOLDER)` or `divseg run ... --model FOLDER`.

| | |
| --- | --- |
| network | {json.dumps(config["network"])} |
| noise model | {parts.noise.describe()} |
| intensities | mean {_figures(config["mean"])}, standard deviation {_figures(config["std"])} |
| trained on | {t.get("images", "?")} images, {t.get("megapixels", float("nan")):.0f} megapixels of crops |
| steps, seconds | {t.get("steps")}, {t.get("seconds", float("nan")):.0f} |
| device | {t.get("device")} ({t.get("precision")}) |
| validation loss, KL (nats per pixel) | {t.get("loss", float("nan")):.4f}, {t.get("kl_per_pixel", float("nan")):.4f} |
| loss on training crops; validated on | {t.get("train_loss", float("nan")):.4f}; {t.get("validation", "?")} |
| active latent channels | {t.get("active_latents")} |
| seed, end of training | {t.get("seed")}, {t.get("stopped")} |
| converged | {converged} |
| versions | {json.dumps(config["versions"])} |

Use it on images of the same kind, camera and settings only: on others its samples can look sharp and be wrong.
Noise must be independent from pixel to pixel. The licence of the weights is yours to state.
"""
