"""A typewriter, and an engine that reads what it types by comparing each cell with the glyphs."""

import string

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from divseg.ocr import Box, Line, Reading, Word

PAPER, INK = 200.0, 40.0
CELL = (20, 14)
"""Height and width of a letter's cell in pixels."""
LETTERS = string.ascii_letters + string.digits + ".,"


def glyph(letter):
    """Return a letter in its cell, 0 for paper and 1 for ink."""
    picture = Image.new("L", CELL[::-1], 0)
    ImageDraw.Draw(picture).text((2, 1), letter, fill=255, font=ImageFont.load_default(14))
    return np.asarray(picture, float) / 255


def typed(lines, shape=None):
    """Return a clean page, letters on a grid of cells with one cell of margin."""
    height, width = CELL
    rows, columns = len(lines) + 2, max(map(len, lines), default=0) + 2
    page = np.zeros(shape or (rows * height, columns * width))
    for y, line in enumerate(lines, start=1):
        for x, letter in enumerate(line, start=1):
            if letter != " ":
                page[y * height : (y + 1) * height, x * width : (x + 1) * width] = glyph(letter)
    return (PAPER + (INK - PAPER) * page).astype(np.float32)


class TemplateEngine:
    """Reads typed pages: each cell of the grid is the glyph that it correlates best with, or empty."""

    name = "template"

    def __init__(self):
        self.glyphs = np.stack([glyph(letter).ravel() for letter in LETTERS])
        self.glyphs = self.glyphs - self.glyphs.mean(axis=1, keepdims=True)
        self.glyphs /= np.linalg.norm(self.glyphs, axis=1, keepdims=True)

    def __call__(self, page):
        height, width = CELL
        rows, columns = page.shape[0] // height, page.shape[1] // width
        cells = 255.0 - page[: rows * height, : columns * width].reshape(rows, height, columns, width)
        cells = cells.swapaxes(1, 2).reshape(rows, columns, -1)
        cells = cells - cells.mean(axis=2, keepdims=True)
        likeness = cells @ self.glyphs.T
        norm = np.maximum(np.linalg.norm(cells, axis=2), 1e-6)
        best, sure = likeness.argmax(axis=2), likeness.max(axis=2) / norm
        ink = likeness.max(axis=2) > 300
        lines = []
        for y in range(rows):
            words, x = [], 0
            while x < columns:
                end = x
                while end < columns and ink[y, end]:
                    end += 1
                if end > x:
                    text = "".join(LETTERS[k] for k in best[y, x:end])
                    box = Box(x * width, y * height, end * width, (y + 1) * height)
                    words.append(Word(text, box, float(np.clip(sure[y, x:end].mean(), 0, 1))))
                x = max(end, x + 1)
            if words:
                lines.append(Line(tuple(words)))
        return Reading(tuple(lines))


def line(text, confidence=0.9, top=0.0, left=0.0, step=6.0, height=12.0):
    """Return a line of words of letters `step` pixels wide."""
    words, x = [], left
    for word in text.split():
        words.append(Word(word, Box(x, top, x + step * len(word), top + height), confidence))
        x += step * (len(word) + 1)
    return Line(tuple(words))
