"""The dock that runs divseg on an open layer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from napari.layers import Image, Layer
from napari.qt.threading import create_worker
from napari.viewer import Viewer
from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import (
    QComboBox,
    QDoubleSpinBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from divseg.config import describe_setting
from divseg.errors import DivsegError, InputError
from divseg.napari.layer_run import LayerRun, Progress, layer_pixel_size
from divseg.napari.layers import LayerData

SEGMENTERS = ("auto", "otsu,smooth=1,split=distance", "stardist:nuclei")
"""Offered; any other may be typed."""

MINUTES = 10.0


class _Told(QObject):  # signals carry what the working thread says to the one that draws
    said = Signal(str, object)


class RunWidget(QWidget):
    """Settings, a button to run on the chosen layer, progress, and a button to cancel.

    Parameters
    ----------
    napari_viewer : Viewer
        The viewer whose layers are offered.
    """

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self.viewer = napari_viewer
        self.progress: Progress | None = None
        self.worker: Any = None
        self._told = _Told()
        self._told.said.connect(self._show)
        self.layer, self.segmenter = QComboBox(), QComboBox()
        self.segmenter.setEditable(True)
        self.segmenter.addItems(SEGMENTERS)
        self.minutes, self.samples = QDoubleSpinBox(), QSpinBox()
        self.minutes.setRange(0.01, 10000)
        self.minutes.setValue(MINUTES)
        self.samples.setRange(2, 1000)
        self.samples.setValue(describe_setting("samples")[1])
        self.folder, self.model = QLineEdit(), QLineEdit()
        self.model.setPlaceholderText("none: train on this layer")
        shown = {"segmenter": self.segmenter, "train_minutes": self.minutes, "samples": self.samples}
        for setting, widget in shown.items():
            widget.setToolTip(describe_setting(setting)[2])
        self.start, self.stop = QPushButton("Run"), QPushButton("Cancel")
        self.start.clicked.connect(self.run)
        self.stop.clicked.connect(self.cancel)
        self.bar, self.line = QProgressBar(), QLabel("")
        self.line.setWordWrap(True)
        self._lay_out()
        for event in (napari_viewer.layers.events.inserted, napari_viewer.layers.events.removed):
            event.connect(self._list_layers)
        self._list_layers()
        self._busy(False)

    def _lay_out(self) -> None:
        form = QFormLayout()
        form.addRow("layer", self.layer)
        form.addRow("results in", self._with_button(self.folder))
        form.addRow("model folder", self._with_button(self.model))
        form.addRow("training, minutes", self.minutes)
        form.addRow("samples", self.samples)
        form.addRow("segmenter", self.segmenter)
        form.setFieldGrowthPolicy(QFormLayout.ExpandingFieldsGrow)
        buttons = QHBoxLayout()
        buttons.addWidget(self.start)
        buttons.addWidget(self.stop)
        column = QVBoxLayout(self)
        column.addLayout(form)
        column.addLayout(buttons)
        column.addWidget(self.bar)
        column.addWidget(self.line)
        column.addStretch()

    def _with_button(self, edit: QLineEdit) -> QHBoxLayout:
        row, button = QHBoxLayout(), QPushButton("\u2026")
        button.setMaximumWidth(30)
        button.clicked.connect(lambda: self._choose(edit))
        row.addWidget(edit)
        row.addWidget(button)
        return row

    def _choose(self, edit: QLineEdit) -> None:
        if chosen := QFileDialog.getExistingDirectory(self, "Choose a folder", edit.text()):
            edit.setText(chosen)

    def _list_layers(self, event: Any = None) -> None:
        now = self.layer.currentText()
        names = [layer.name for layer in self.viewer.layers if isinstance(layer, Image)]
        self.layer.clear()
        self.layer.addItems(names)
        if now in names:
            self.layer.setCurrentText(now)

    # --- the work

    def run(self) -> None:
        """Start the run in a thread; an error in the settings is shown instead."""
        try:
            work = self._work()
        except DivsegError as error:
            self.line.setText(str(error))
            return
        self.progress = Progress(self._told.said.emit)
        self.worker = create_worker(_outcome, work, self.progress)
        self.worker.returned.connect(self._show_outcome)
        self.worker.finished.connect(lambda: self._busy(False))
        self._busy(True)
        self.worker.start()

    def cancel(self) -> None:
        """End the run at its next step."""
        if self.progress is not None:
            self.progress.cancel()
            self.line.setText("cancelling at the next step; the same run goes on from there")

    def _work(self) -> LayerRun:
        if not self.layer.currentText():
            raise InputError("no image is open; open one, or File > Open Sample > divseg")
        if not self.folder.text().strip():
            raise InputError("name a new folder for the results")
        layer = self.viewer.layers[self.layer.currentText()]
        if layer.rgb or layer.multiscale:
            raise InputError(f"layer {layer.name!r} has colours or several scales; choose a grey image")
        model = self.model.text().strip()
        budget = {} if model else {"train_minutes": self.minutes.value()}
        return LayerRun(
            layer.data,
            layer.name,
            Path(self.folder.text().strip()).expanduser(),
            layer_pixel_size(layer.scale, layer.units),
            Path(model).expanduser() if model else None,
            {"samples": self.samples.value(), "segmenter": self.segmenter.currentText().strip(), **budget},
        )

    def _busy(self, busy: bool) -> None:
        self.start.setEnabled(not busy)
        self.stop.setEnabled(busy)
        self.bar.setVisible(busy)

    def _show(self, text: str, fraction: float | None) -> None:
        self.line.setText(text)
        if fraction is not None:
            self.bar.setRange(0, 1000)
            self.bar.setValue(round(1000 * fraction))

    def _show_outcome(self, outcome: list[LayerData] | str) -> None:
        if isinstance(outcome, str):
            self.line.setText(outcome)
            return
        for data, keywords, kind in outcome:
            self.viewer.add_layer(Layer.create(data, keywords, kind))
        self.line.setText(f"done; report: {Path(self.folder.text()).expanduser() / 'run' / 'report.html'}")


def _outcome(work: LayerRun, progress: Progress) -> list[LayerData] | str:
    """Do the run, in a thread; return its layers, or a line that says why there are none."""
    try:
        return work.do(progress) or "cancelled; run again with the same folder to go on"
    except DivsegError as error:
        return str(error)
