import subprocess
import sys

MODULE = """
import sys
from divseg.cli.interrupt import interrupted
try:
    exec("raise KeyboardInterrupt")  # as where an interrupt hits a dataclass in the making
except KeyboardInterrupt:
    sys.exit({end})
"""


def ended(folder, end):
    """Return what running the module gives that ends so."""
    (folder / "ended.py").write_text(MODULE.format(end=end))
    return subprocess.run([sys.executable, "-m", "ended"], cwd=folder, capture_output=True, text=True, check=False)


def test_exit_code_even_where_the_interrupt_hits_code_run_from_a_string(tmp_path):
    done = ended(tmp_path, "interrupted()")
    assert done.returncode == 130
    assert done.stderr.startswith("divseg: interrupted")
