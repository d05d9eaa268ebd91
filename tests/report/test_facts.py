import math

import pytest

from divseg.report import facts
from divseg.results.open_run import open_run


@pytest.mark.parametrize(
    ("value", "digits", "words"),
    [
        (1234567, 0, "1\u202f234\u202f567"),
        (0.12345, 3, "0.123"),
        (math.nan, 2, "\u2013"),
        (None, 2, "\u2013"),
        ("x", 0, "\u2013"),
    ],
)
def test_number(value, digits, words):
    assert facts.number(value, digits) == words


@pytest.mark.parametrize(("value", "words"), [(5, "5.0 s"), (754.2, "12.6 min"), (90000, "25.0 h"), (None, "\u2013")])
def test_duration(value, words):
    assert facts.duration(value) == words


def test_facts_of_a_real_run(real_run):
    run = open_run(real_run)
    cards = {name: value for name, value, _ in facts.overview(run)}
    assert cards["images"] == "4"
    assert cards["objects"] == str(len(run.objects))
    assert cards["median existence"] == f"{run.objects.existence.median():.2f}"
    assert cards["existence below 0.8"] == f"{100 * (run.objects.existence < 0.8).mean():.1f} %"
    assert cards["failed images"] == "0"
    words = dict(facts.image_facts(run, "large"))
    assert words["size"] == "400 \u00d7 96 px"
    assert words["pixel size"] == "0.5 \u00d7 0.5 µm"
    row = run.images_table.set_index("image").sort_values("n_objects").iloc[-1]
    words = dict(facts.image_facts(run, row.name))
    assert words["objects"] == str(row.n_objects)
    assert words["count in the samples"].startswith(f"mean {row.count_mean:.1f}, 5\u201395 %: {row.count_q05:.0f} to")
    assert "pixel size" not in dict(facts.image_facts(run, "cell0"))
    assert dict(facts.training_facts(run))["steps"] == "20"
    assert ("fusion.method", "majority") in facts.flatten(run.config)
    assert facts.segmenter_ranking(run) is None
    assert not any("star-convex" in line for line in facts.citations(run))


def test_overview_without_numbers_claims_none(table_run):
    run = table_run(objects={"image": ["a"], "existence": [None]})
    cards = {name: value for name, value, _ in facts.overview(run)}
    assert cards["median existence"] == cards["existence below 0.5"] == "\u2013"


def test_an_existence_at_the_limit_is_not_below_it(table_run):
    run = table_run(objects={"image": list("aaaa"), "existence": [0.2, 0.5, 0.8, 1.0]})
    cards = {name: value for name, value, _ in facts.overview(run)}
    assert (cards["existence below 0.5"], cards["existence below 0.8"]) == ("25.0 %", "50.0 %")


def test_calibration_is_put_in_words(table_run):
    made = {"n_objects": 300, "n_images": 12, "iou": 0.5, "coverage": 0.9}
    made["check"] = {"d_ece_after": 0.02, "d_ece_before": 0.31, "area_coverage_after": 0.88}
    words = facts.calibration_words(table_run({"calibration": made}))
    assert "300 objects of 12 images" in words
    assert "was 0.020, and 0.310 before calibration; the 90 % intervals of areas covered 88 %" in words
    assert facts.calibration_words(table_run({"calibration": None})) == ""
    assert "with ground truth" in words
    tables = {"objects": {"image": ["a"] * 3, "existence": [1, 1, 1], "p_true": [0.9, 0.75, 0.4]}}
    tables["images"] = {"image": ["a"], "expected_map": [0.672], "calibrated_map": [0.39], "calibrated_count": [4.2]}
    cards = {name: (value, words) for name, value, words in facts.overview(table_run({"calibration": made}, **tables))}
    assert cards["objects expected right"] == ("2", "of 3, by labelled images")
    assert cards["p_true below 0.5"][0] == "33.3 %"
    assert "existence below 0.5" not in cards
    run = table_run({"calibration": made | {"source": "simulated"}}, **tables)
    assert ("expected mAP", "0.390", "simulated; 0.672 with the samples as truth") in facts.overview(run)
    assert "expected SEG" not in {name for name, *_ in facts.overview(run)}
    assert "that the run's own model simulated" in facts.calibration_words(run)
    lines = dict(facts.image_facts(run, "a"))
    assert lines["expected mAP (simulated)"] == "0.390"
    assert lines["expected mAP (samples as truth)"] == "0.672"
    assert lines["expected count (simulated)"] == "4"


def test_images_to_show_are_the_doubtful_and_some_with_samples(table_run):
    images = {"image": [f"i{k}" for k in range(20)], "existence_mean": [0.9 - 0.01 * k for k in range(20)]}
    run = table_run(images=images)
    (run.folder / "crops").mkdir()
    for name in ("i5", "i6"):
        run.layout.crop(name).touch()
    assert facts.images_to_show(run, 4) == ["i5", "i6", "i18", "i19"]
    run.images_table["warnings"] = [""] * 10 + ["dim"] * 2 + [""] * 8
    assert facts.images_to_show(run, 4) == ["i5", "i6", "i10", "i11"]
    assert facts.images_to_show(run, 20) == images["image"]
    assert facts.images_to_show(run, 0) == []


def test_flatten_keeps_every_setting():
    config = {"a": {"b": 1, "c": {}}, "d": [1, 2], "e": None, "f": "µm"}
    assert facts.flatten(config) == [("a.b", "1"), ("a.c", "{}"), ("d", "[1, 2]"), ("e", "not set"), ("f", "µm")]


def test_stardist_is_cited_if_it_was_used(table_run):
    used = facts.citations(table_run({"config": {"segmentation": {"segmenter": "stardist:nuclei"}}, "divseg": "1.2"}))
    assert any("star-convex" in line for line in used)
    assert used[0].startswith("divseg 1.2: ")
    chosen = {"config": {"segmentation": {"segmenter": "auto:otsu|stardist:nuclei"}}, "segmenter": "otsu"}
    assert not any("star-convex" in line for line in facts.citations(table_run(chosen)))


def test_the_choice_of_a_segmenter_is_ranked(table_run):
    names = [f"otsu,smooth={k}" for k in range(10)]
    table = {"segmenter": names, "score": [0.5 - 0.04 * k for k in range(10)], "objects": 0.9}
    table |= {"explained": 0.7, "edges": 0.95, "sharpness": 0.5, "n_objects": 12.25}
    record = {
        "segmenter": names[0],
        "config": {"segmentation": {"segmenter": "auto"}},
    }
    ranking = facts.segmenter_ranking(table_run(record, segmenters=table))
    assert (ranking["chosen"], ranking["total"], len(ranking["rows"])) == ([names[0]], 10, 8)
    both = facts.segmenter_ranking(table_run(record | {"segmenter": f"{names[0]} + {names[3]}"}, segmenters=table))
    assert both["chosen"] == [names[0], names[3]]
    assert ranking["rows"][1] == (names[1], ["0.460", "0.900", "0.700", "0.950", "0.500", "12.2"])
    # a table that an earlier run with auto left behind
    assert facts.segmenter_ranking(table_run(config_named(record), segmenters=table)) is None
    assert facts.segmenter_ranking(table_run(record)) is None


def config_named(record):
    return {**record, "config": {"segmentation": {"segmenter": "otsu"}}}


def test_training_facts_show_what_has_no_words_of_its_own(table_run):
    record = {
        "steps": 4000,
        "seconds": 60,
        "noise": {"kind": "poisson-gaussian", "a": 1.5, "b": 9},
        "restarts": 2,
    }
    assert facts.training_facts(table_run({"training": record})) == [
        ("steps", "4\u202f000"),
        ("time", "60.0 s"),
        ("noise model", "Poisson-Gaussian, variance = 1.5 · signal + 9"),
        ("restarts", "2"),
    ]
    record["noise"]["b"] = -373.2
    assert ("noise model", "Poisson-Gaussian, variance = 1.5 · signal \u2212 373.2") in facts.training_facts(
        table_run({"training": record})
    )
    assert facts.training_facts(table_run({"training": {"noise": {"kind": "gaussian", "std": 20}}})) == [
        ("noise model", "gaussian, std = 20")
    ]
    assert facts.training_facts(table_run({"training": None})) == []


def test_area_of_a_pixel_is_a_volume_in_3d_and_pixels_if_units_differ(table_run):
    images = {"image": ["a", "b"], "pixel_size_y": [0.5, 2], "pixel_size_x": [0.5, 3], "pixel_unit": "µm"}
    area, unit = facts.area_of_pixel(table_run(images=images), ["b", "a", "b"])
    assert (area.tolist(), unit) == ([6, 0.25, 6], "µm²")
    deep = {**images, "depth": 9, "pixel_size_z": [2, 4]}
    area, unit = facts.area_of_pixel(table_run(images=deep), ["a", "b"])
    assert (area.tolist(), unit) == ([0.5, 24], "µm³")
    for other in ({**deep, "pixel_size_z": [2, None]}, {**images, "pixel_unit": ["µm", "s"]}, {"image": ["a", "b"]}):
        area, unit = facts.area_of_pixel(table_run(images=other), ["a", "b"])
        assert (area.tolist(), unit) == ([1, 1], "px")
