"""The dock for the review of uncertain objects: least certain first; what is decided becomes ground truth."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Labels, Layer, Points
from napari.viewer import Viewer
from qtpy.QtCore import Qt
from qtpy.QtGui import QKeySequence
from qtpy.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QFileDialog,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from divseg.errors import DivsegError, InputError
from divseg.napari.layers import METADATA, colours, image_layers, objects_of
from divseg.napari.review import Review
from divseg.results.open_run import Run, open_run

SPLIT_POINTS = "split here"
"""Name of the layer of the points at which an object is split."""

COLUMNS = {"label": "#", "p_true": "p_true", "existence": "exist.", "mean_iou": "IoU", "area": "{}"}
"""Columns of the queue that are shown, and their titles."""

CHOSEN = (0.0, 0.9, 1.0, 1.0)
"""Colour of the chosen object, one that no confidence has."""

OUTLINE = 2
"""Width of the outlines of objects, in pixels of the image."""

ROOM, VIEW = 5, 400
"""Diameters of an object that so many pixels of the screen show when the canvas goes there."""


class ReviewWidget(QWidget):
    """Goes through the objects of a run, least certain first, and writes the corrected label images.

    Parameters
    ----------
    napari_viewer : Viewer
        The viewer; if it shows the labels of a run folder, the review is of that run.
    """

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self.viewer = napari_viewer
        self.opened: Run | None = None
        self.review: Review | None = None
        self.layer: Labels | None = None
        self._colours: dict[int | None, Any] = {}
        self.open_button, self.images = QPushButton("Open run folder\u2026"), QComboBox()
        self.open_button.clicked.connect(self._choose_folder)
        self.images.activated.connect(lambda _: self._guard(lambda: self.show_image(self.images.currentText())))
        self.table, self.line = QTableWidget(), QLabel("open a run folder")
        self.table.setEditTriggers(QAbstractItemView.NoEditTriggers)
        self.table.setSelectionBehavior(QAbstractItemView.SelectRows)
        self.table.setSelectionMode(QAbstractItemView.SingleSelection)
        self.table.itemSelectionChanged.connect(self._row_chosen)
        self.line.setWordWrap(True)
        self.buttons = {
            "accept": self._button("Accept", "A", self.accept, "The object is right as it is"),
            "reject": self._button("Reject", "R", self.reject, "There is no such object"),
            "merge": self._button("Merge", "M", self.merge, "One object with the label that is picked in the layer"),
            "split": self._button("Split", "S", self.split, f"At the points of {SPLIT_POINTS!r}, or its waist"),
            "points": self._button("Split points", "P", self.add_points, "Set a point in each part"),
            "undo": self._button("Undo", "U", self.undo, "Take the last decision back"),
            "next": self._button("Next", "N", self.go_to_next, "Least certain object without a verdict"),
            "save": self._button("Save truth", "", self.save, "Write the label image for divseg calibrate"),
        }
        self._lay_out()
        self._open_shown_run()

    def _button(self, title: str, key: str, act: Callable[[], Any], tip: str) -> QPushButton:
        button = QPushButton(f"{title} ({key})" if key else title)
        button.setToolTip(tip)
        button.clicked.connect(lambda: self._guard(act))
        if key:
            button.setShortcut(QKeySequence(f"Alt+{key}"))
        return button

    def _lay_out(self) -> None:
        head = QHBoxLayout()
        head.addWidget(self.open_button)
        head.addWidget(self.images, 1)
        grid = QGridLayout()
        for place, button in enumerate(self.buttons.values()):
            grid.addWidget(button, place // 2, place % 2)
        column = QVBoxLayout(self)
        column.addLayout(head)
        column.addWidget(self.table, 1)
        column.addLayout(grid)
        column.addWidget(QLabel("Shortcuts: Alt and the letter"))
        column.addWidget(self.line)

    # --- runs and images

    def _choose_folder(self) -> None:
        if chosen := QFileDialog.getExistingDirectory(self, "Choose a run folder"):
            self._guard(lambda: self.open_folder(chosen))

    def _open_shown_run(self) -> None:
        origins = [layer.metadata[METADATA] for layer in self.viewer.layers if METADATA in layer.metadata]
        if origins:
            self._guard(lambda: self.open_folder(origins[-1]["folder"], origins[-1]["image"]))

    def open_folder(self, folder: str | Path, image: str | None = None) -> None:
        """Open a run folder, and show one of its images, the first by default."""
        self.opened = open_run(folder)
        self.images.clear()
        self.images.addItems(self.opened.names)
        if not self.opened.names:
            raise InputError(f"{folder}: no image of this run is finished; run it first")
        self.show_image(image or self.opened.names[0])

    def show_image(self, name: str) -> None:
        """Show an image and its objects; layers of the image before it are removed."""
        if self.opened is None:
            raise InputError("open a run folder first")
        if self.review is not None and self.review.name != name and self.review.verdicts:
            self.review.save()  # what was decided of the image before
        self.review = None
        review = Review(self.opened, name)
        for layer in [layer for layer in self.viewer.layers if METADATA in layer.metadata]:
            self.viewer.layers.remove(layer)
        for data, keywords, kind in image_layers(self.opened, name):
            layer = self.viewer.add_layer(Layer.create(review.labels if kind == "labels" else data, keywords, kind))
        layer.contour, layer.opacity = OUTLINE, 1.0
        self.layer, self.review = layer, review
        self.images.setCurrentText(name)
        self._refresh()
        self.go_to_next()

    # --- the object

    @property
    def label(self) -> int:
        """Label of the object that is chosen in the list."""
        rows = self.table.selectionModel().selectedRows()
        if not rows:
            raise InputError("choose an object in the list")
        return int(self.table.item(rows[0].row(), 0).data(Qt.UserRole))

    def go_to(self, label: int) -> None:
        """Move the canvas to an object, and choose it in the list."""
        review, layer = self._open()
        row = review.queue["label"].tolist().index(label)
        self.table.blockSignals(True)
        self.table.selectRow(row)
        self.table.blockSignals(False)
        layer.selected_label = label
        layer.colormap = {**self._colours, label: CHOSEN}
        if (centre := review.centre(label)) is None:
            return
        area = max(int(np.count_nonzero(review.labels == label)), 1)
        across = 2 * ROOM * math.sqrt(area / math.pi) * float(layer.scale[-1])
        self.viewer.layers.selection.active = layer
        self.viewer.camera.center = layer.data_to_world(centre)
        self.viewer.camera.zoom = VIEW / across

    def go_to_next(self) -> None:
        """Go to the least certain object without a verdict."""
        review, _ = self._open()
        if (label := review.next()) is None:
            self.line.setText(f"{review.words}: all are; save, or choose another image")
        else:
            self.go_to(label)

    # --- verdicts

    def accept(self) -> None:
        """Accept the chosen object, and go on."""
        self._decide(lambda review: review.accept(self.label))

    def reject(self) -> None:
        """Reject the chosen object, and go on."""
        self._decide(lambda review: review.reject(self.label))

    def merge(self) -> None:
        """Merge the chosen object with the label that is picked in the layer, and go on."""
        _, layer = self._open()
        if layer.selected_label == self.label:
            raise InputError("pick the other object with the colour picker of the layer (key 4), then merge")
        self._decide(lambda review: review.merge(self.label, int(layer.selected_label)))

    def split(self) -> None:
        """Split the chosen object at the two points, or at its waist if there are none, and go on."""
        points = self._points()
        at = None if points is None or not len(points.data) else self._pixels(points)
        self._decide(lambda review: review.split(self.label, at))
        if points is not None:
            self.viewer.layers.remove(points)

    def add_points(self) -> None:
        """Add a layer for the two points of a split."""
        _, layer = self._open()
        if self._points() is None:
            made = self.viewer.add_points(
                name=SPLIT_POINTS, ndim=2, scale=layer.scale, units=layer.units, size=3, face_color="white"
            )
            made.mode = "add"
        self.line.setText("click a point in each part of the object, then split")

    def undo(self) -> None:
        """Take the last verdict back."""
        review, _ = self._open()
        if not review.undo():
            raise InputError("there is nothing to take back")
        self._refresh()
        self.go_to_next()

    def save(self) -> None:
        """Write the label image and the verdicts."""
        review, _ = self._open()
        file = review.save()
        command = f"divseg calibrate {review.run_folder} --truth {review.truth}"
        self.line.setText(f"{review.words}; the others are written as they are\n{file}\n{command}")

    def _decide(self, act: Callable[[Review], Any]) -> None:
        review, _ = self._open()
        act(review)
        self._refresh()
        self.go_to_next()

    # --- what is shown

    def _open(self) -> tuple[Review, Labels]:
        if self.review is None or self.layer is None or self.layer not in self.viewer.layers:
            raise InputError("open a run folder first")
        return self.review, self.layer

    def _points(self) -> Points | None:
        return next((layer for layer in self.viewer.layers if layer.name == SPLIT_POINTS), None)

    def _pixels(self, points: Points) -> np.ndarray:
        _, layer = self._open()
        return np.array([layer.world_to_data(points.data_to_world(point)) for point in points.data])

    def _row_chosen(self) -> None:
        if self.table.selectionModel().selectedRows():
            self._guard(lambda: self.go_to(self.label))

    def _refresh(self) -> None:
        """Show the labels and the queue as they are now."""
        review, layer = self._open()
        assert self.opened is not None
        self._colours = colours(review.labels, objects_of(self.opened, review.name))
        layer.colormap = self._colours
        layer.refresh()
        shown = [name for name in COLUMNS if name in review.queue]
        size = review.pixel_size
        pixel, unit = (1.0, "px") if size is None else (size.y * size.x, f"{size.unit}\u00b2")
        self.table.blockSignals(True)
        self.table.setColumnCount(len(shown) + 1)
        self.table.setHorizontalHeaderLabels([COLUMNS[name].format(unit) for name in shown] + ["verdict"])
        self.table.verticalHeader().setVisible(False)
        self.table.setRowCount(len(review.queue))
        queue = review.queue.assign(area=review.queue["area"] * pixel) if "area" in shown else review.queue
        for row, values in enumerate(queue[shown].to_numpy(float).tolist()):
            label = round(values[0])
            texts = [_number(v, 0 if name in ("label", "area") else 2) for name, v in zip(shown, values, strict=True)]
            for column, words in enumerate([*texts, review.verdicts.get(label, "")]):
                item = QTableWidgetItem(words)
                item.setData(Qt.UserRole, label)
                self.table.setItem(row, column, item)
        self.table.resizeColumnsToContents()
        self.table.blockSignals(False)
        self.line.setText(review.words)

    def _guard(self, act: Callable[[], Any]) -> None:
        """Do what a button asks for; an error is told below the buttons."""
        try:
            act()
        except DivsegError as error:
            self.line.setText(str(error))


def _number(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if np.isfinite(value) else "\u2013"
