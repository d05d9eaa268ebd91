"""The report on a run folder: figures as PNG files and one self-contained HTML page.

It reads the tables and images of the folder alone. Plotting libraries are loaded on first use, so that
``import divseg.report`` stays cheap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from divseg.report.html import write_report as write_report

__all__ = ["write_report"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from divseg.report.html import write_report

        return write_report
    raise AttributeError(f"module 'divseg.report' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
