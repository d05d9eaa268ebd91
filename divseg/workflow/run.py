"""A folder: check, train, every image once, tables, report. Can be interrupted and started again."""

from __future__ import annotations

import logging
import os
import time
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from divseg.config import RunConfig
from divseg.errors import ConfigError, DivsegError, DivsegWarning, InputError, OutputError
from divseg.io import Image, ImageList, ImageRef, InputReport, check_inputs, config_hash, fingerprint
from divseg.results import RunStore
from divseg.results.rows import failure_rows, image_row, score_summary, summary_text
from divseg.segment import Segmenter
from divseg.versions import versions
from divseg.workflow.choose_segmenter import asked_candidates, choose_for_run
from divseg.workflow.preflight import check_settings, load_calibration
from divseg.workflow.progress import LogReporter, Reporter

if TYPE_CHECKING:
    from divseg.denoise import DivNoising
    from divseg.workflow.image import ImageResult

log = logging.getLogger("divseg")


@dataclass(frozen=True)
class RunResult:
    """What came of a run."""

    out: Path | None
    n_images: int
    n_failed: int
    text: str = ""
    """What to show the user at the end."""
    summary: pd.DataFrame = field(default_factory=pd.DataFrame)
    """Scores of each input of the segmenter, with truth only."""


def run_folder(
    source: Any,
    out: str | Path | None = None,
    config: RunConfig | None = None,
    *,
    truth: str | Path | None = None,
    model: str | Path | None = None,
    dry_run: bool = False,
    reporter: Reporter | None = None,
) -> RunResult:
    """Take a folder of noisy images to consensus label images, tables, scores and a report.

    Parameters
    ----------
    source : path, glob or list of those
        The noisy images.
    out : path, optional
        Run folder; ``<source>_divseg`` beside the source by default. Where it holds a run, finished images
        are skipped.
    config : RunConfig, optional
        Settings.
    truth : path, optional
        Ground-truth label images; the report then has scores of the consensus and of all baselines.
    model : path, optional
        Model folder to use instead of training.
    dry_run : bool
        Only check the input and say what would be done.
    reporter : Reporter, optional
        Told what is done; by default everything goes to the ``divseg`` logger.

    Returns
    -------
    RunResult

    Raises
    ------
    DivsegError
        Where no image can be processed, or results cannot be written. An image that fails on its own is a
        row of ``failures.csv`` instead.
    """
    config = config or RunConfig()
    reporter = reporter or LogReporter()
    segment = check_settings(config)  # a wrong setting is told before any work
    target = _default_out(source) if out is None else Path(out)
    found = check_inputs(source, axes=config.axes, channel=config.channel, truth=truth, out=target)
    for line in found.lines():
        reporter.say(line)
    if dry_run:
        return RunResult(None, len(found.images), len(found.problems), "dry run: nothing was written")
    if model is not None and not Path(model).is_dir():
        raise ConfigError(f"there is no model folder {model}")
    store = RunStore(target)
    with _logged(store.log, reporter) as tell:
        return _Run(source, found, store, config, segment, tell).go(model)


def _default_out(source: Any) -> Path:
    path = Path(source) if isinstance(source, str | os.PathLike) else None
    if path is not None and not path.exists() and not any(c in str(path) for c in "*?["):
        raise InputError(f"{source}: there is no such file or folder")
    if path is None or not path.is_dir():
        raise ConfigError("say where results go with --out: the input is not one folder")
    path = path.resolve()
    return path.with_name(path.name + "_divseg")


class _Run:
    """One run of a folder."""

    def __init__(
        self,
        source: Any,
        found: InputReport,
        store: RunStore,
        config: RunConfig,
        segment: Segmenter | None,
        tell: Reporter,
    ) -> None:
        self.source, self.found, self.store = source, found, store
        self.config, self.tell = config, tell
        self._segment = segment
        self.failures: list[dict[str, str]] = failure_rows(found.problems)
        self.failed = {row["file"] for row in self.failures}
        self.started = time.monotonic()
        self.timings: dict[str, float] = {}
        self.inputs: dict[str, dict[str, Any]] = {}
        self.interrupted = False
        self.calibration = load_calibration(config)

    def go(self, model_folder: str | Path | None) -> RunResult:
        """Train or load, process, and write tables and report, also where Ctrl-C came in between."""
        from divseg.denoise.model_folder import fingerprint_model

        model = self.model(model_folder)
        if self._segment is None:
            refs, weights = self.found.images.refs, fingerprint_model(self.store.model)
            specs = asked_candidates(self.config.segmenter) or []
            self._segment = choose_for_run(self.store, model, refs, specs, self.config.seed, weights, self.tell)
        key = self.unit_key(model)
        try:
            self.images(model, key)
        except KeyboardInterrupt:
            self.interrupted = True
            self.tell.say("interrupted: writing the tables of what is finished")
        self.timings["total_s"] = time.monotonic() - self.started
        result = self.finish(model, key)
        if self.interrupted:
            raise KeyboardInterrupt
        return result

    @property
    def segment(self) -> Segmenter:
        """The segmenter, once it is chosen."""
        if self._segment is None:
            raise ConfigError("the segmenter is not chosen yet")
        return self._segment

    # --- model

    def model(self, folder: str | Path | None) -> DivNoising:
        """Load the model that was asked for or that an earlier run of the same settings left, or train one."""
        from divseg.denoise import DivNoising

        began = time.monotonic()
        if folder is not None:
            model = DivNoising.load(folder, device=self.config.device)
            if Path(folder).resolve() != self.store.model.resolve():
                model.save(self.store.model)
            self.tell.say(f"model: {folder} ({model.noise.describe()})")
            self._record(training_key=None)
            return model
        key = self._training_key()
        if self.store.read_run().get("training_key") == key and (self.store.model / "config.json").is_file():
            model = DivNoising.load(self.store.model, device=self.config.device)
            self.tell.say(f"model: {self.store.model}, trained before ({model.noise.describe()})")
            return model
        model = train(self._usable(), self.config, self.tell)
        model.save(self.store.model)
        self._record(training_key=key)
        self.timings["train_s"] = time.monotonic() - began
        return model

    def _training_key(self) -> str:
        """Return a hash of what the trained model depends on: settings, and which files there are."""
        from divseg.denoise.noise.choose import noise_key

        c = self.config
        files = []
        for ref in self.found.images.refs:
            stat = ref.path.stat()
            files.append([ref.name, ref.shape, stat.st_size, stat.st_mtime_ns])
        settings = [noise_key(c.noise), c.network, c.train_steps, c.train_minutes, c.seed, c.axes, c.channel]
        return config_hash({"settings": settings, "files": files})

    def _usable(self) -> ImageList:
        """Images whose pixels can be trained on; the others are noted as failures."""
        refs = []
        for ref in self.found.images.refs:
            try:
                _check(ref.load(), self.config)
                refs.append(ref)
            except (DivsegError, OSError) as error:
                self._fail(ref, "read", error)
        if not refs:
            raise InputError(f"none of the images can be used: {self.failures[0]['error']}")
        return ImageList(refs)

    # --- images

    def unit_key(self, model: DivNoising) -> str:
        """Hash of everything but the pixels that an image's results depend on."""
        from divseg.denoise.model_folder import fingerprint_model

        c = self.config.model_dump(mode="json")
        for name in ("train_steps", "train_minutes", "noise", "network", "device", "tile"):
            del c[name]  # they act through the model, or not at all
        if c["calibration"] is not None:  # what the file says, not where it lies
            c["calibration"] = Path(c["calibration"]).read_text(encoding="utf-8")
        weights = fingerprint_model(self.store.model)
        return config_hash(
            {"config": c, "segmenter": self.segment.name, "model": weights, "divseg": versions()["divseg"]}
        )

    def images(self, model: DivNoising, key: str) -> None:
        """Process every image that is not finished yet."""
        began = time.monotonic()
        refs = self.found.images.refs
        skipped = 0
        for i, ref in enumerate(refs):
            if str(ref.path) in self.failed:
                continue
            self.tell.images(i, len(refs), ref.name)
            skipped += self._one(ref, model, key, lambda what, i=i, ref=ref: self._step(i, ref, what))
        self.tell.images(len(refs), len(refs), "all done")
        if skipped:
            self.tell.say(f"{skipped} of {len(refs)} images were finished before and are skipped")
        self.timings["images_s"] = time.monotonic() - began

    def _step(self, i: int, ref: ImageRef, what: str) -> None:
        self.tell.images(i, len(self.found.images), f"{ref.name}, {what}")

    def _one(self, ref: ImageRef, model: DivNoising, key: str, step: Any) -> bool:
        """Process one image; return True where it was finished before."""
        began = time.monotonic()
        writer = None
        try:
            image = ref.load()
            _check(image, self.config)
            truth = self.found.truth[ref.name].load() if ref.name in self.found.truth else None
            key = config_hash({"run": key, "truth": None if truth is None else fingerprint(truth)})
            mark = fingerprint(image)
            self.inputs[ref.name] = {"fingerprint": mark}
            if self.store.is_done(ref.name, key, mark):
                return True
            writer = self.store.start(ref.name, key, mark)
            from divseg.workflow.image import process_image

            result = process_image(image, model, self.segment, self.config, truth=truth, step=step)
            self._write(writer, image, result, time.monotonic() - began)
        except OutputError:
            raise  # the disk, not the image: the next one would fail as well
        except Exception as error:
            if not isinstance(error, DivsegError):
                log.error("%s: %s", ref.name, traceback.format_exc())
            self._fail(ref, "process", error)
            if writer is not None:
                writer.fail(self.failures[-1]["error"])
        return False

    def _write(self, writer: Any, image: Image, result: ImageResult, seconds: float) -> None:
        size = image.pixel_size
        writer.denoised(result.mmse, size)
        writer.map("sd", result.sd, size)
        writer.map("foreground", result.consensus.foreground, size)
        writer.map("boundary", result.consensus.boundary, size)
        if len(result.samples):
            writer.samples(result.samples, size)
        objects, lost = result.consensus.objects, result.consensus.alternatives
        writer.objects(objects if self.calibration is None else self.calibration.apply(objects), lost)
        writer.labels(result.consensus.labels, size)
        for text in result.warnings:
            self.tell.say(f"note: {image.name}: {text}")
        writer.finish(image_row(image, result, seconds, self.calibration), result.scores)

    def _fail(self, ref: ImageRef, stage: str, error: BaseException) -> None:
        text = " ".join(str(error).split()) or type(error).__name__
        if not isinstance(error, DivsegError):
            text = f"{type(error).__name__}: {text} (see run.log)"
        self.failures.append({"image": ref.name, "file": str(ref.path), "stage": stage, "error": text})
        if stage == "read":
            self.failed.add(str(ref.path))
        self.tell.say(f"failed: {ref.name}: {text}")

    # --- results

    def finish(self, model: DivNoising, key: str) -> RunResult:
        """Write tables, run.json and the report."""
        names = [ref.name for ref in self.found.images.refs]
        bad = {row["image"] for row in self.failures}
        done = [n for n in names if n not in bad and n in self.inputs]
        tables = self.store.collect(done)
        tables["failures"] = pd.DataFrame(self.failures, columns=["image", "file", "stage", "error"])
        summary = score_summary(tables["scores"])
        if tables["scores"].empty:
            del tables["scores"]
        else:
            tables["summary"] = summary
        self.store.write_tables(tables)
        self._record(**self._facts(model, len(tables["images"])))
        from divseg.report import write_report

        refs = {ref.name: ref for ref in self.found.images.refs}
        page = write_report(self.store.folder, load=lambda name: refs[name].load().data)
        text = summary_text(tables, summary, page, len(names) + len(failure_rows(self.found.problems)))
        return RunResult(self.store.folder, len(tables["images"]), len(self.failures), text, summary)

    def _facts(self, model: DivNoising, n_done: int) -> dict[str, Any]:
        inputs = [
            {
                "name": ref.name,
                "path": str(ref.path.resolve()),
                "plane": ref.plane,
                "axes": ref.axes,
                "shape": ref.shape,
                "dtype": str(ref.dtype),
                "pixel_size": None if ref.pixel_size is None else vars(ref.pixel_size),
                **self.inputs.get(ref.name, {}),
            }
            for ref in self.found.images.refs
        ]
        timings = {**self.store.read_run().get("timings", {}), **self.timings}
        return {
            "divseg": versions()["divseg"],
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "config": self.config.model_dump(mode="json"),
            "segmenter": self.segment.name,
            "device": str(model.device),
            "versions": versions(),
            "seed": self.config.seed,
            "input": str(self.source),
            "n_images": n_done,
            "n_failed": len(self.failures),
            "interrupted": self.interrupted,
            "timings": {k: round(v, 2) for k, v in timings.items()},
            "inputs": inputs,
            "training": model.training,
            "calibration": None if self.calibration is None else self.calibration.describe(),
        }

    def _record(self, **facts: Any) -> None:
        self.store.write_run({**self.store.read_run(), **facts})


def _check(image: Image, config: RunConfig) -> None:
    """Raise where an image cannot be denoised."""
    from divseg.denoise.networks.registry import parse_network
    from divseg.denoise.validation import plane

    plane(image, parse_network(config.network).smallest_side)


def train(
    images: ImageList, config: RunConfig, tell: Reporter, *, checkpoints: Path | None = None, resume: bool = False
) -> DivNoising:
    """Train on images with the settings of a run, with checkpoints in a folder where one is given."""
    from divseg.denoise import DivNoising

    tell.say(f"training on {len(images)} images")
    model = DivNoising.fit(
        images,
        noise=config.noise,
        network=config.network,
        train_steps=config.train_steps,
        train_minutes=config.train_minutes,
        seed=config.seed,
        device=config.device,
        progress=tell.training,
        checkpoints=checkpoints,
        resume=resume,
    )
    t = model.training
    tell.say(
        f"trained {t['steps']} steps in {t['seconds']:.0f} s on {t['device']} ({t['stopped']}); "
        f"KL {t['kl_per_pixel']:.4f} nats per pixel; {model.noise.describe()}"
    )
    return model


@contextmanager
def _logged(path: Path, reporter: Reporter) -> Iterator[Reporter]:
    """Write what is said, and warnings, to the run's log as well."""
    try:
        handler = logging.FileHandler(path, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{path}: it cannot be written ({error.strerror}); choose another --out") from error
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    show = warnings.showwarning

    def note(message: Warning | str, category: type[Warning], *args: Any, **kwargs: Any) -> None:
        log.warning("%s", message)
        show(message, category, *args, **kwargs)

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always", DivsegWarning)
            warnings.showwarning = note
            yield _Both(reporter)
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
        handler.close()


class _Both:
    """A reporter that also writes to the log."""

    def __init__(self, reporter: Reporter) -> None:
        self.reporter, self.file = reporter, LogReporter()

    def say(self, text: str) -> None:
        self.reporter.say(text)
        if not isinstance(self.reporter, LogReporter):
            self.file.say(text)

    def training(self, row: dict[str, Any]) -> None:
        self.reporter.training(row)
        if not isinstance(self.reporter, LogReporter):
            self.file.training(row)

    def images(self, done: int, total: int, now: str) -> None:
        self.reporter.images(done, total, now)
