"""The picture of what is wrong with each input."""

import numpy as np
import pytest

from divseg.errors import FileProblem
from divseg.report.html import write_report
from divseg.report.image_data import read_image_data
from divseg.report.mistakes import FALSE, MISSED, RIGHT, Mistakes, mistakes_figure
from divseg.report.panels import Region
from divseg.report.style import to_rgb
from divseg.results.open_run import open_run
from divseg.results.rivals import save_rivals


def test_mistakes_are_objects_without_a_partner():
    truth, labels = np.zeros((2, 20, 20), int)
    truth[2:6, 2:6], truth[2:6, 10:14], truth[12:16, 2:6] = 1, 5, 9
    labels[2:6, 2:6], labels[2:6, 11:15], labels[14:18, 12:16] = 3, 4, 7  # the second overlaps with an IoU of .6
    mistakes = Mistakes.of(labels, truth)
    assert (mistakes.wrong.tolist(), mistakes.missed.tolist()) == ([7], [9])
    assert mistakes.words == "1 missed, 1 false"
    assert Mistakes.of(truth, truth).words == "0 missed, 0 false"
    assert Mistakes.of(np.zeros_like(truth), truth).words == "3 missed, 0 false"


def colours(figure):
    return {tuple(pixel) for pixel in np.unique(to_rgb(figure).reshape(-1, 3), axis=0).tolist()}


def test_right_false_and_missed_objects_have_colours_of_their_own(run_copy):
    run = open_run(run_copy)
    name = run.names[0]
    data = read_image_data(run, name)
    region = Region(0, 0, *data.shape)
    save_rivals(run.layout.rivals(name), data.labels, {"noisy": data.labels, "gaussian sigma=1.5": data.labels})
    figure, caption = mistakes_figure(run, name, data, region)
    assert name in caption
    titles = [text.get_text() for text in figure.axes[0].texts]
    assert titles == [f"{what}\n0 missed, 0 false" for what in ("Noisy image", "Gaussian, \u03c3 = 1.5", "Consensus")]
    seen = colours(figure)
    assert tuple(RIGHT.tolist()) in seen
    assert not {tuple(FALSE.tolist()), tuple(MISSED.tolist())} & seen
    moved = np.roll(data.labels, data.shape[0] // 2, axis=0)
    save_rivals(run.layout.rivals(name), moved, {"mmse": data.labels})
    seen = colours(mistakes_figure(run, name, data, region)[0])
    assert {tuple(FALSE.tolist()), tuple(MISSED.tolist())} <= seen


def test_without_truth_there_is_no_picture(run_copy):
    run = open_run(run_copy)
    name = run.names[0]
    data = read_image_data(run, name)
    run.layout.rivals(name).unlink(missing_ok=True)
    assert mistakes_figure(run, name, data, Region(0, 0, *data.shape)) is None


@pytest.mark.parametrize("damage", ["cut off", "of another size"])
def test_a_damaged_file_is_named_on_the_page(run_copy, damage):
    run = open_run(run_copy)
    name = run.names[0]
    data, path = read_image_data(run, name), run.layout.rivals(name)
    save_rivals(path, data.labels if damage == "cut off" else np.zeros((5, 5), int), {})
    if damage == "cut off":
        path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(FileProblem, match=rf"{name}\.npz.*run again"):
        mistakes_figure(run, name, data, Region(0, 0, *data.shape))
    page = write_report(run_copy).read_text()
    assert f"picture of the mistakes on {name} (" in page
