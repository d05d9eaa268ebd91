"""The first lines of the page."""

import numpy as np

from divseg.errors import CORRELATED, NOTHING, ONLY_NOISE, OUTLIERS, UNFINISHED
from divseg.report import findings


def lines_of(run):
    groups = findings.grouped_warnings(run)
    return [make(run, groups) for make in (findings.found, findings.to_trust, findings.to_look_at)]


def test_nothing_is_alarming_about_a_clean_run(table_run):
    images = {"image": ["a", "b"], "warnings": ["", ""]}
    objects = {"image": ["a", "a", "b"], "existence": [1.0, 0.9, 0.5]}
    run = table_run({"training": {"shortfalls": []}}, images=images, objects=objects)
    found, trust, look = lines_of(run)
    words = "3 objects in 2 images; half of the objects are in at least 90 % of the samples."
    assert found == [findings.Line(words)]
    assert trust == [findings.Line("No warnings.")]
    assert [(line.text, line.section) for line in look] == [
        ("The objects to review first, which are the least certain.", "review")
    ]
    assert not any(line.alarm for line in look)


def test_each_kind_is_found_and_says_what_to_trust_and_to_look_at(table_run):
    first = "\n".join([OUTLIERS.says("15 of 100 pixels"), CORRELATED.says("along the rows")])
    warnings = [first, NOTHING.lead, CORRELATED.says("along the columns"), ""]
    run = table_run(images={"image": list("abcd"), "warnings": warnings})
    found, trust, look = lines_of(run)
    assert [(line.text, line.images) for line in found[1:]] == [
        ("The noise of neighbouring pixels is correlated.", ("a", "c")),
        ("Single pixels are far from their neighbours.", ("a",)),
        ("Nothing found.", ("b",)),
    ]
    assert [line.text for line in trust] == [
        CORRELATED.trust,
        OUTLIERS.trust,
        NOTHING.trust,
        "1 image of 4 without a warning.",
    ]
    assert [(line.text, line.images) for line in look] == [
        (CORRELATED.look, ("a", "c")),
        (OUTLIERS.look, ("a",)),
        (NOTHING.look, ("b",)),
    ]
    assert all(line.alarm for line in [*found[1:], *trust[:-1], *look])


def test_training_images_without_anything_are_told(table_run):
    run = table_run(
        {"training": {"shortfalls": [], "only_noise": True}}, images={"image": ["a"], "warnings": [NOTHING.lead]}
    )
    found, trust, look = lines_of(run)
    assert [line.text for line in found[1:]] == [f"T{ONLY_NOISE.lead[1:]}.", "Nothing found."]
    assert [line.text for line in trust] == [ONLY_NOISE.trust, NOTHING.trust]
    assert [line.text for line in look] == [ONLY_NOISE.look, NOTHING.look]


def test_a_short_training_is_told(table_run):
    run = table_run(
        {"training": {"shortfalls": ["its loss was still falling", "it saw little"]}}, images={"image": ["a"]}
    )
    found, trust, look = lines_of(run)
    assert found[1].text == "Training had not converged: its loss was still falling; it saw little."
    assert (trust[0].text, look[0].text) == (UNFINISHED.trust, UNFINISHED.look)


def test_failures_and_warnings_of_other_kinds_are_told(table_run):
    failures = {"image": ["x", "y"], "error": ["e", "f"]}
    run = table_run(images={"image": list("ab"), "warnings": ["odd", "odd"]}, failures=failures)
    found, _, look = lines_of(run)
    assert [(line.text, line.images) for line in found[1:]] == [
        ("Odd.", ("a", "b")),
        ("2 images failed and are in no number or chart of this page.", ()),
    ]
    assert look == [findings.Line("See the warning.", ("a", "b"), alarm=True)]


def test_many_images_are_counted(table_run):
    names = [f"i{k}" for k in range(20)]
    run = table_run(
        images={"image": names, "warnings": [NOTHING.lead] * 20}, objects={"image": [], "existence": np.zeros(0)}
    )
    found, _, _ = lines_of(run)
    assert found[0].text == "0 objects in 20 images."
    assert (found[1].images, found[1].more) == (tuple(names[:6]), 14)


def test_objects_in_every_sample_are_said_to_be_so(table_run):
    run = table_run(images={"image": ["a"], "warnings": [""]}, objects={"image": ["a", "a"], "existence": [1.0, 1.0]})
    assert lines_of(run)[0][0].text == "2 objects in 1 image; half of the objects are in every sample."
