"""Time and memory of the parts of divseg: one command for each table in ``benchmarks/results``.

python -m benchmarks.speed COMMAND [OPTIONS]
python -m benchmarks.speed COMMAND --help
"""

from __future__ import annotations

import argparse
import sys
from types import ModuleType

COMMANDS = {
    "engine": "the overhead of a unit, another method, several processes, a dask cluster",
    "matching": "scores of one large label image, against stardist.matching",
    "fusion": "fusion by the number of samples and pixels, against other tools",
    "threshold": "every thresholding of many samples, against scikit-image",
    "sampling": "drawing samples, against the reference's loop",
    "sampling-memory": "memory of the samples of a large image",
    "stardist": "StarDist on many samples, against TensorFlow; memory over many images",
    "operations": "torch operations of a training step, and its waits for the device",
    "training": "training, against the reference recipe",
}


def module_of(command: str) -> ModuleType:
    """Import the module of a command, and no other: imports count in the memory of a process."""
    match command:
        case "engine":
            from benchmarks.speed import engine as module
        case "matching":
            from benchmarks.speed import matching as module
        case "fusion":
            from benchmarks.speed import fusion as module
        case "threshold":
            from benchmarks.speed import threshold as module
        case "sampling":
            from benchmarks.speed import sampling as module
        case "sampling-memory":
            from benchmarks.speed import sampling_memory as module
        case "stardist":
            from benchmarks.speed import stardist as module
        case "operations":
            from benchmarks.speed import operations as module
        case "training":
            from benchmarks.speed import training as module
    return module


def main() -> None:
    listing = "\n".join(f"    {name:16s}{text}" for name, text in COMMANDS.items())
    raw = argparse.RawDescriptionHelpFormatter
    top = argparse.ArgumentParser(
        prog="python -m benchmarks.speed", description=f"{__doc__}\ncommands:\n{listing}", formatter_class=raw
    )
    top.add_argument("command", choices=COMMANDS, metavar="COMMAND")
    command = top.parse_args(sys.argv[1:2]).command
    module = module_of(command)
    parser = argparse.ArgumentParser(prog=f"{top.prog} {command}", description=module.__doc__, formatter_class=raw)
    module.add_options(parser)
    module.run(parser.parse_args(sys.argv[2:]))


if __name__ == "__main__":
    main()
