"""What iterations of a trainer have found out, kept to be learned from again, in memory and beside the run."""

from __future__ import annotations

from collections import deque
from pathlib import Path

from torch import Tensor

from dispatchgym.agents.checkpoint import read_tensors, write_tensors

Entry = dict[str, Tensor]


class Kept:
    """The tensors of the last ``most`` iterations; one file each in ``folder``, so that a run resumes exactly."""

    def __init__(self, folder: Path, most: int) -> None:
        self.folder, self.most = folder, most
        self.entries: deque[Entry] = deque(maxlen=most)

    def restore(self, step: int) -> None:
        """Take up what the iterations before ``step`` kept, and forget what later ones did."""
        for path in sorted(self.folder.glob("*.safetensors")):
            number = int(path.stem)
            if step - self.most <= number < step:
                self.entries.append(read_tensors(path))
            else:
                path.unlink()

    def add(self, step: int, entry: Entry) -> None:
        """Keep an iteration's tensors; in memory the oldest ones go once there are more than ``most``."""
        if self.most == 0:
            return
        self.folder.mkdir(exist_ok=True)
        write_tensors(self._path(step), entry)
        self.entries.append(entry)

    def saved(self, step: int) -> None:
        """Remove the files that no run needs that resumes from ``step`` or later."""
        for path in self.folder.glob("*.safetensors"):
            if int(path.stem) < step - self.most:
                path.unlink()

    def mean(self, name: str, weight: str) -> float:
        """Sum of the scalars ``name`` of all entries over the sum of the scalars ``weight``."""
        return float(sum(e[name] for e in self.entries) / sum(e[weight] for e in self.entries))

    def _path(self, step: int) -> Path:
        return self.folder / f"{step:09d}.safetensors"
