"""Bounds the work of reading one file's metadata: a small file can cost much, by compressed text and many tags."""

from services.storage.media.format_parser import TooManyError

MAX_STEPS = 500_000  # tags, attributes, EXIF entries and edits of a file; half a second, ten times the longest history
MAX_TEXT_BYTES = 8 * 1024 * 1024  # of all unpacked texts of a file


class Budget:
    """The remaining steps and decompressed bytes of a file."""

    def __init__(self) -> None:
        self.text_bytes = MAX_TEXT_BYTES
        self._steps = MAX_STEPS

    def step(self, count: int = 1) -> None:
        """Use up steps.

        Raises:
            TooManyError: none are left.
        """
        self._steps -= count
        if self._steps < 0:
            raise TooManyError

    def unpacked(self, count: int) -> None:
        """Use up decompressed bytes.

        Raises:
            TooManyError: none are left.
        """
        self.text_bytes -= count
        if self.text_bytes < 0:
            raise TooManyError
