from hypothesis import given, settings
from hypothesis import strategies as st
from typewriter import line

from divseg.ocr import Reading
from divseg.ocr.lines import group_lines

places = st.lists(st.tuples(st.floats(0, 200), st.floats(0, 300), st.floats(5, 30)), max_size=5)


@given(st.lists(places, max_size=4))
@settings(max_examples=30)
def test_every_word_belongs_to_one_line_of_the_page(readings):
    made = [
        Reading(tuple(line(f"w{k}{i}", top=y, left=x, height=h) for i, (y, x, h) in enumerate(lines)))
        for k, lines in enumerate(readings)
    ]
    held = [w.text for group in group_lines(made) for of in group.readings.values() for w in of.words]
    assert sorted(held) == sorted(w.text for reading in made for of in reading.lines for w in of.words)


def test_lines_at_one_place_are_one_and_come_from_top_to_bottom():
    first = Reading((line("one", top=0), line("two", top=20)))
    second = Reading((line("tvvo", top=21), line("onc", top=1.5)))
    third = Reading((line("two", top=19),))
    groups = group_lines([first, second, third])
    assert [{k: of.text for k, of in group.readings.items()} for group in groups] == [
        {0: "one", 1: "onc"},
        {0: "two", 1: "tvvo", 2: "two"},
    ]


def test_pieces_of_a_line_are_joined_and_columns_of_text_are_not():
    whole, pieces = Reading((line("left right"),)), Reading((line("right", left=30), line("left")))
    assert [group.readings[1].text for group in group_lines([whole, pieces])] == ["left right"]
    columns = Reading((line("left"), line("right", left=100)))
    assert [group.readings[0].text for group in group_lines([columns])] == ["left", "right"]
