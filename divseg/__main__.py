"""``python -m divseg`` is the ``divseg`` command."""

from divseg.cli import main

main()
