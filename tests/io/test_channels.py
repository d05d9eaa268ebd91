import shlex

import pytest

from divseg.errors import FileProblem, InputError
from divseg.io import check_inputs, read
from divseg.io.channels import find_channel, unique_names


@pytest.fixture
def two(save):
    """Return a file with the channels DAPI and GFP, and its pixels."""
    return save("two.ome.tif", (2, 8, 9), ome=True, metadata={"axes": "CYX", "Channel": {"Name": ["DAPI", "GFP"]}})


@pytest.mark.parametrize(("channel", "number"), [("DAPI", 0), ("GFP", 1), ("gfp", 1), ("1", 1), (0, 0)])
def test_by_name_or_number(two, channel, number):
    path, data = two
    image = read(path, channel=channel)[0]
    assert (image.data == data[number]).all()
    assert read(path, channel=channel).refs[0].channel_name == ("DAPI", "GFP")[number]


def test_a_name_of_digits_comes_before_the_number(save):
    path, data = save("a.ome.tif", (2, 8, 9), ome=True, metadata={"axes": "CYX", "Channel": {"Name": ["488", "0"]}})
    assert (read(path, channel="0")[0].data == data[1]).all()
    assert (read(path, channel=0)[0].data == data[0]).all()
    assert (read(path, channel="488")[0].data == data[0]).all()


def test_the_advice_works_on_the_file(two):
    path, data = two
    with pytest.raises(FileProblem, match=r"holds 2 channels; choose one with --channel DAPI \(0 DAPI, 1 GFP\)") as e:
        read(path)
    words = shlex.split(e.value.problem.remedy)
    assert (read(path, channel=words[words.index("--channel") + 1])[0].data == data[0]).all()


@pytest.mark.parametrize("channel", ["GFPP", "2", 7])
def test_a_channel_that_does_not_exist(two, channel):
    with pytest.raises(FileProblem, match=rf"no channel .?{channel}.*choose --channel from 0 DAPI, 1 GFP"):
        read(two[0], channel=channel)
    with pytest.raises(FileProblem, match="did you mean 'GFP'"):
        read(two[0], channel="GFPP")


def test_two_channels_of_one_name(save):
    names = ["DAPI", "GFP", "GFP"]
    path, data = save("a.ome.tif", (3, 8, 9), ome=True, metadata={"axes": "CYX", "Channel": {"Name": names}})
    with pytest.raises(FileProblem, match="2 of its channels are named 'GFP'; give --channel 1 or 2"):
        read(path, channel="GFP")
    assert (read(path, channel="2")[0].data == data[2]).all()
    assert unique_names(3, names) == ("DAPI", "GFP_1", "GFP_2")
    assert unique_names(2, ()) == ("c0", "c1")


def test_files_of_one_folder_with_different_channels(two, save):
    folder = two[0].parent
    save("turned.ome.tif", (2, 8, 9), ome=True, metadata={"axes": "CYX", "Channel": {"Name": ["GFP", "DAPI"]}})
    save("other.ome.tif", (2, 8, 9), ome=True, metadata={"axes": "CYX", "Channel": {"Name": ["RFP", "Cy5"]}})
    report = check_inputs(folder, channel="GFP")
    assert [(ref.name, ref.channel) for ref in report.images.refs] == [("turned", 0), ("two", 1)]
    assert [p.problem for p in report.problems] == ["it has no channel 'GFP'; did you mean 'RFP'?"]
    assert "0 RFP, 1 Cy5" in report.problems[0].remedy
    by_number = check_inputs(folder, channel=1)
    assert any("channel 1 is named Cy5 in other.ome.tif, DAPI in turned" in line for line in by_number.warnings)


def test_imagej_names_channels_in_the_labels_of_slices(save):
    labels = [f"c:{c}/2 t:{t}/3 - {name}" for t in (1, 2, 3) for c, name in ((1, "nuclei"), (2, "membrane"))]
    path, data = save("a.tif", (3, 2, 8, 9), imagej=True, metadata={"axes": "TCYX", "Labels": labels, "finterval": 2.5})
    images = read(path, channel="membrane")
    assert (images[1].data == data[1, 1]).all()
    assert images.refs[0].source.interval == 2.5


def test_names_of_colours(save):
    path, data = save("a.tif", (8, 9, 3), dtype="uint8", photometric="rgb")
    assert (read(path, channel="green")[0].data == data[..., 1]).all()


def test_a_file_of_one_channel(save):
    path, _ = save("a.tif")
    with pytest.raises(InputError, match="no channel 'DAPI'; leave --channel out"):
        read(path, channel="DAPI")
    assert find_channel("f", None, 1, ()) == 0


def test_a_file_that_claims_endless_channels_is_listed_in_a_line():
    from divseg.io.channels import listed

    assert listed(2, ["DAPI", "GFP"]) == "0 DAPI, 1 GFP"
    assert listed(10**12, []).endswith("30, 31 and 999999999968 more")
