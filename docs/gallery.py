"""Make the pictures of the gallery: ``python docs/gallery.py [RUN]``; without a run folder ``divseg demo`` makes one.

The report needs Chromium, the plug-in napari (``pip install ".[napari]" PySide6``) and a screen, or xvfb-run.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

OUT = Path(__file__).parent / "_static"
PAGE = '<iframe src="{report}" style="width:{width}px;height:{height}px;border:0"></iframe>'


def report(run, width, top, height, name):
    """Photograph a part of the report in a window of some width."""
    with tempfile.TemporaryDirectory() as folder:
        page, picture = Path(folder) / "page.html", Path(folder) / "page.png"
        address = (run / "report.html").resolve().as_uri()
        page.write_text(PAGE.format(report=address, width=width, height=top + height), encoding="utf-8")
        options = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--allow-file-access-from-files")
        size = f"--window-size={max(width, 500) + 20},{top + height + 20}"
        subprocess.run(["chromium", *options, size, f"--screenshot={picture}", str(page)], check=True)
        with Image.open(picture) as image:
            part = image.convert("RGB").crop((8, 8 + top, 8 + width, 8 + top + height))
            part.save(OUT / f"{name}.webp", quality=80, method=6)


def plug_in(run):
    """Photograph the review of uncertain objects in napari."""
    import napari
    from qtpy.QtWidgets import QApplication

    viewer = napari.Viewer()
    viewer.window.resize(1500, 950)
    viewer.open(run, plugin="divseg")
    viewer.window.add_plugin_dock_widget("divseg", "Review uncertain objects")
    viewer.scale_bar.visible = True
    for _ in range(200):
        QApplication.processEvents()
    picture = viewer.screenshot(canvas_only=False, flash=False)[:, :, :3]
    Image.fromarray(picture).save(OUT / "napari.webp", quality=80, method=6)
    viewer.close()


if __name__ == "__main__":
    from divseg.workflow.demo import run_demo

    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else run_demo("divseg_gallery").out
    report(folder, 1400, 150, 1250, "report_top")
    report(folder, 1400, 2350, 1250, "report_images")
    report(folder, 420, 4550, 1400, "report_phone")
    plug_in(folder)
