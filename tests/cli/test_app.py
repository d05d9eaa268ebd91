"""Exit codes of interrupted commands."""

import subprocess
import sys

import pytest
import typer

from divseg.cli.app import guard
from divseg.errors import InputError
from divseg.workflow.progress import Terminated

MODULE = """
import sys
from divseg.cli.app import interrupted
try:
    exec("raise KeyboardInterrupt")  # as where an interrupt hits a dataclass in the making
except KeyboardInterrupt:
    sys.exit(interrupted(terminated={terminated}))
"""


@pytest.mark.parametrize(("terminated", "code"), [(False, 130), (True, 143)])
def test_exit_code_even_if_the_interrupt_hits_code_run_from_a_string(tmp_path, terminated, code):
    (tmp_path / "ended.py").write_text(MODULE.format(terminated=terminated))
    done = subprocess.run([sys.executable, "-m", "ended"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert done.stderr.startswith("divseg: interrupted")


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (None, 0, ""),
        (InputError("no image"), 2, "divseg: no image\n"),
        (KeyboardInterrupt(), 130, "divseg: interrupted; run the same command again to go on\n"),
        (Terminated(), 143, "divseg: interrupted; run the same command again to go on\n"),
    ],
)
def test_errors_become_a_line_and_a_code(error, code, line, capsys):
    @guard
    def command():
        if error is not None:
            raise error

    with pytest.raises(typer.Exit) as ended:
        command()
    assert ended.value.exit_code == code
    assert capsys.readouterr().err == line
