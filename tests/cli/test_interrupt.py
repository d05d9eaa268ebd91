import subprocess
import sys

CODE = """
import sys
from divseg.cli.interrupt import interrupted
try:
    exec("raise KeyboardInterrupt")  # as where an interrupt hits a dataclass in the making
except KeyboardInterrupt:
    sys.exit(interrupted())
"""


def test_exit_code_even_where_the_interrupt_hits_code_run_from_a_string():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=False)
    assert done.returncode == 130
    assert done.stderr.startswith("divseg: interrupted")
