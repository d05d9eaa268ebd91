"""The log of a run."""

import logging
import os
from pathlib import Path

import pytest

from divseg.errors import OutputError
from divseg.workflow.progress import LogReporter, log, logged


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_full_disk_is_one_line(capsys):
    handlers = list(log.handlers)
    with pytest.raises(OutputError, match="No space left on device"), logged(Path("/dev/full"), LogReporter()) as tell:
        tell.say("text")
    assert capsys.readouterr().err == ""
    assert log.handlers == handlers


def test_names_that_are_not_utf8_are_escaped(tmp_path):
    with logged(tmp_path / "run.log", LogReporter()) as tell:
        tell.say("cell_\udce4")
    assert "cell_\\udce4" in (tmp_path / "run.log").read_text(encoding="utf-8")
    assert logging.raiseExceptions
