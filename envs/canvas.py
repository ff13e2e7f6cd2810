"""Just enough drawing for ``rgb_array`` without a plotting library: boxes and a 3 x 5 pixel font on a NumPy array."""

from __future__ import annotations

import numpy as np

Color = tuple[int, int, int]

# Character, then one octal digit (three pixels) for each of its five rows from the top; M, N, W need more pixels.
_GLYPHS = """
0 75557  1 26227  2 71747  3 71717  4 55711  5 74717  6 74757  7 71222  8 75757  9 75717
A 25755  B 65656  C 34443  D 65556  E 74647  F 74644  G 34553  H 55755  I 72227  J 11152  K 55655  L 44447
O 25552  P 65644  Q 25573  R 65655  S 34216  T 72222  U 55553  V 55522  X 55255  Y 55222  Z 71247
. 00002  - 00700  / 11244  : 02020  , 00024  = 07070  % 51245  + 02720  _ 00007  ( 12221  ) 42224
"""
_WIDE = {
    "M": ("#...#", "##.##", "#.#.#", "#...#", "#...#"),
    "N": ("#..#", "##.#", "#.##", "#..#", "#..#"),
    "W": ("#...#", "#...#", "#.#.#", "##.##", "#...#"),
}
_CELLS = _GLYPHS.split()
_FONT = {
    char: np.array([[int(row) >> bit & 1 for bit in (2, 1, 0)] for row in rows], bool)
    for char, rows in zip(_CELLS[::2], _CELLS[1::2], strict=True)
} | {char: np.array([[pixel == "#" for pixel in row] for row in rows]) for char, rows in _WIDE.items()}
_BLANK = np.zeros((5, 3), bool)


class Canvas:
    """A picture u8[H, W, 3] to draw on. Whatever lies outside of it is cut off."""

    def __init__(self, width: int, height: int, color: Color) -> None:
        self.pixels = np.empty((height, width, 3), np.uint8)
        self.pixels[:] = color

    def box(self, x0: float, y0: float, x1: float, y1: float, color: Color) -> None:
        """Fill [x0, x1) x [y0, y1), edges rounded to pixels, at least one pixel wide and high."""
        left, top = max(round(x0), 0), max(round(y0), 0)
        self.pixels[top : max(round(y1), top + 1), left : max(round(x1), left + 1)] = color

    def text(self, x: float, y: float, text: str, color: Color, scale: int = 2, anchor: float = 0.0) -> None:
        """Write in capitals, from the top left corner; ``anchor`` 0.5 centres at x, 1 ends there."""
        rows = [np.pad(_FONT.get(char, _BLANK), ((0, 0), (0, 1))) for char in text.upper()]
        if not rows:
            return
        bitmap = np.kron(np.concatenate(rows, axis=1)[:, :-1], np.ones((scale, scale), bool))
        top, left = round(y), round(x - anchor * bitmap.shape[1])
        row, column = np.nonzero(bitmap)
        row, column = row + top, column + left
        inside = (row >= 0) & (row < self.pixels.shape[0]) & (column >= 0) & (column < self.pixels.shape[1])
        self.pixels[row[inside], column[inside]] = color

    @staticmethod
    def extent(text: str, scale: int = 2) -> int:
        """Width of a text in pixels."""
        widths = [_FONT.get(char, _BLANK).shape[1] + 1 for char in text.upper()]
        return max(sum(widths) - 1, 0) * scale
