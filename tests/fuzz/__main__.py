"""``python -m tests.fuzz``: mutate and read as many inputs as asked, print what became of them."""

import argparse
import contextlib
import re
import sys
import tempfile
from pathlib import Path

from tests.fuzz.kinds import make_kinds
from tests.fuzz.run import GIGABYTES, Tally, fuzz, peak_gigabytes


def main():
    """Run; exit with 1 if an input was neither read nor refused."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=5000, help="inputs")
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--seed", type=int, default=0, help="seed of all mutations")
    parser.add_argument("--kinds", default="", help="regular expression of the names of the kinds")
    parser.add_argument("--show", type=int, default=20, help="findings that are printed, of each place the first")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fuzz_") as place:
        root = Path(place)
        (root / "good").mkdir()
        kinds = {name: k for name, k in make_kinds(root / "good").items() if re.search(chosen.kinds, name)}
        tally = Tally()
        told = 0
        with contextlib.suppress(KeyboardInterrupt):  # the table is of what was done until then
            for start in range(chosen.first, chosen.first + chosen.count, 1000):
                numbers = range(start, min(start + 1000, chosen.first + chosen.count))
                fuzz(kinds, root, numbers=numbers, seed=chosen.seed, tally=tally)
                print(f"{numbers.stop} inputs, {len(tally.findings)} findings", file=sys.stderr, flush=True)
                print("\n\n".join(tally.findings[told : chosen.show]), file=sys.stderr, flush=True)
                told = len(tally.findings)
    print("\n".join(tally.lines()))
    return int(bool(tally.findings) or peak_gigabytes() > GIGABYTES)


if __name__ == "__main__":
    sys.exit(main())
