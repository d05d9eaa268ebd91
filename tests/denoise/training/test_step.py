"""The step on the device: what it costs the host, and what a step with a bad gradient leaves alone."""

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.speed.operations import Operations, counted, make_trainer, of_the_network
from divseg.denoise.networks.hierarchical import HierarchicalConfig, HierarchicalNet
from divseg.denoise.noise import Gaussian, GaussianMixture, Histogram, PoissonGaussian
from divseg.denoise.training import step as step_module
from divseg.denoise.training.cuda_graph import WARM_UP, Repeated
from divseg.denoise.training.data import TrainingData
from divseg.denoise.training.likelihood import ChannelNoise
from divseg.denoise.training.schedule import Budget
from divseg.denoise.training.settings import StepSize, TrainSettings
from divseg.denoise.training.trainer import Trainer
from divseg.errors import DivsegWarning

CPU = torch.device("cpu")
QUICK = TrainSettings(batch=4, patch=32, structure_sampling=0.5)


def learned():
    return PoissonGaussian(1.0, 300.0, low=50.0, high=200.0, trainable=True).with_prior(0.1)


def trainer(noise=None, settings=QUICK, channels=1, steps=12):
    torch.manual_seed(0)
    network = HierarchicalNet(HierarchicalConfig(latents=(4, 4), filters=4, width=6, channels=channels))
    network.initialize()
    rng = np.random.default_rng(0)
    images = [rng.normal(100.0, 20.0, (channels, 96, 80)).astype(np.uint16) for _ in range(3)]
    data = TrainingData(images, settings.patch, network.config.stride)
    budget = Budget(steps=steps)
    return Trainer(network, noise or learned(), data, budget=budget, settings=settings, seed=0, device=CPU)


@pytest.mark.parametrize("network", ["hierarchical", "flat"])
def test_few_operations_beside_those_of_the_network(network):
    t = make_trainer(network, 4)
    t.step(0.6)
    operations = counted(lambda: t.step(0.6))
    outside = operations.kinds - of_the_network(t)
    assert operations.kinds["_fused_adam_"] == 2
    assert outside.total() <= 250, outside
    large = make_trainer(network, 8)
    large.step(0.6)
    assert counted(lambda: large.step(0.6)).kinds.total() == operations.kinds.total()


def mixture():
    return GaussianMixture([[0.0, 0.1], [1.0, -1.0], [5.0, 1.0], [5.5, 1.0], [0.0, 0.0], [0.1, 0.0]],
                           min_signal=0.0, max_signal=200.0, min_sigma=10.0)  # fmt: skip


NOISES = {
    "gaussian": lambda: Gaussian(20.0),
    "learned": learned,
    "limits": lambda: learned().with_limits(60.0, 140.0),
    "mixture": mixture,
    "histogram": lambda: Histogram(np.eye(64) + 0.1, low=0.0, high=255.0).with_limits(None, 140.0),
    "channels": lambda: ChannelNoise([learned(), mixture()]),
}


@pytest.mark.parametrize("noise", NOISES)
def test_no_step_waits_for_the_device_or_sends_numbers_to_it(noise):
    t = trainer(NOISES[noise](), channels=2 if noise == "channels" else 1)
    t.step(0.3)
    operations = counted(t.train_step.advance)
    assert (operations.waits, operations.sent) == (0, 0)
    before = counted(lambda: t.train_step.prepare(1, 0.7))
    assert (before.waits, before.kinds.total()) == (0, before.kinds["fill_"])


def test_one_wait_in_25_steps_with_validation():
    t = trainer(settings=replace(QUICK, validate_every=50), steps=55)
    waits = {}

    def note(row):
        waits[row["step"]] = operations.waits

    with Operations() as operations:
        t.run(note)
    assert list(waits) == [1, 25, 50]
    assert "val_loss" in t.record.history[2]
    assert list(waits.values()) == [1, 2, 3]


def state_of(t):
    step = t.train_step
    moments = [v for state in step.optimizer.state.values() for v in state.values()]
    return copy.deepcopy([*(p.detach() for p in step.parameters), *moments, step.ema.average])


def test_a_bad_step_leaves_everything_as_it_was():
    t = trainer()
    for _ in range(3):
        t.step(0.6)
    before, good = state_of(t), t.train_step.terms
    seen = t.train_step.fetch()[0]
    t.train_step.terms = lambda x, eps: good(x * math.nan, eps)
    for _ in range(2):
        t.step(0.6)
    figures = t.train_step.fetch()[0]
    assert (figures.skipped, figures.streak) == (2, 2)
    assert (figures.loss, figures.nll, figures.kl) == (seen.loss, seen.nll, seen.kl)
    for a, b in zip(before, state_of(t), strict=True):
        assert torch.equal(a, b)
    t.train_step.terms = good
    t.step(0.6)
    figures = t.train_step.fetch()[0]
    assert (figures.skipped, figures.streak) == (2, 0)
    assert figures.loss != seen.loss
    assert not any(torch.equal(a, b) for a, b in zip(before, state_of(t), strict=True))


def test_the_noise_stays_until_its_time_comes():
    t = trainer(settings=replace(QUICK, noise_start=0.5))
    noise, weight = t.noise.log_ends, t.network.to_image.weight
    start = noise.detach().clone(), weight.detach().clone()
    t.step(0.4)
    assert torch.equal(noise, start[0])
    assert not torch.equal(weight, start[1])
    t.step(0.6)
    assert not torch.equal(noise, start[0])


def test_every_step_has_crops_of_its_own_however_training_got_there(monkeypatch):
    monkeypatch.setattr(step_module, "AHEAD", 3)

    def rows_of(steps):
        t, rows = trainer(), []
        cut = t.data.cut
        t.data.cut = lambda r, *options: rows.append(r.clone()) or cut(r, *options)
        for step in steps:
            t.train_step.prepare(step, 0.5)
            t.train_step.advance()
        return rows

    every = rows_of(range(8))
    assert len({tuple(rows.ravel().tolist()) for rows in every}) == 8
    for a, b in zip(every[4:], rows_of(range(4, 8)), strict=True):
        assert torch.equal(a, b)


class CpuRecorder:
    """Records by keeping the function, which is what a replay does."""

    def __init__(self, fails=False):
        self.fails, self.plain, self.replayed = fails, 0, 0

    def plainly(self, work):
        self.plain += 1
        work()

    def record(self, work):
        if self.fails:
            raise RuntimeError("operation not permitted when stream is capturing\nand so on")

        def replay():
            self.replayed += 1
            work()

        return replay


def test_a_step_is_recorded_after_a_few_and_replayed():
    a, b, recorder = trainer(), trainer(), CpuRecorder()
    b._take = Repeated(b.train_step, recorder)
    for t in (a, b):
        t.run()
    assert (recorder.plain, recorder.replayed) == (WARM_UP, 12 - WARM_UP)
    for p, q in zip(a.train_step.parameters, b.train_step.parameters, strict=True):
        assert torch.equal(p, q)


def test_without_a_recording_training_goes_on_and_says_so_once():
    a, b, recorder = trainer(), trainer(), CpuRecorder(fails=True)
    b._take = Repeated(b.train_step, recorder)
    a.run()
    with pytest.warns(DivsegWarning, match=r"without a CUDA graph.*not permitted when stream is capturing\)") as said:
        b.run()
    assert len(said) == 1
    assert recorder.plain == 12
    for p, q in zip(a.train_step.parameters, b.train_step.parameters, strict=True):
        assert torch.equal(p, q)


def test_crops_and_rates_for_the_device():
    near = pytest.approx
    tuned = StepSize(4, 3e-3, 100, (near(0.9), near(0.999)), near(1e-8), 0.998)
    assert TrainSettings().step_size("cpu") == TrainSettings(batch=4).step_size("cuda") == tuned
    large = TrainSettings().step_size("cuda")
    assert large == TrainSettings(batch=32).step_size("cpu")
    assert large.learning_rate == pytest.approx(3e-3 * math.sqrt(2))
    assert large.betas == pytest.approx((0.8, 0.998))
    assert large.eps == pytest.approx(1e-8 / math.sqrt(2))
    assert (large.warmup_steps, large.ema_decay) == (50, pytest.approx(0.996, abs=1e-5))
    assert TrainSettings(batch=400).step_size("cpu") == replace(large, batch=400)  # as far as the rule is trusted
    assert TrainSettings(batch=16, learning_rate=1e-4).step_size("cpu").learning_rate == 1e-4


def test_the_record_says_crops_and_rate():
    record = trainer(settings=replace(QUICK, batch=8), steps=2).run().to_dict()
    assert record["batch"] == 8
    assert record["learning_rate"] == pytest.approx(3e-3 * math.sqrt(2))
