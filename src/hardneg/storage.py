"""Files on disk: whole replacement, flushing, temporary files, reading, and errors that name their file."""

from __future__ import annotations

import errno
import glob
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hardneg.errors import DamagedError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

CACHE_VARIABLE = "HARDNEG_CACHE"
"""Environment variable with the folder of `cache_folder`."""
TEMPORARY = re.compile(r"\..+\.(\d+)\.new")
"""Names of files that are not complete; see `replacing`. The group is the process that writes."""
OS_ERROR = re.compile(r"os error (\d+)")
"""Text by which polars and safetensors, written in Rust, report an error of the operating system."""
DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM}
"""Numbers of errors of a disk that is full, read-only, broken or not ours."""
SHORT_WRITE = re.compile(r"\d+ requested and \d+ written")
"""Text by which numpy reports a full disk."""


def cache_folder() -> Path:
    """Return the user's cache: HARDNEG_CACHE, or hardneg in the cache folder of the system."""
    own = os.environ.get(CACHE_VARIABLE)
    return Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hardneg"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield where to write a file; on success flush it and rename it to `path`, so that no reader sees half a file.

    On failure the new file is removed. A killed process leaves it, and `remove_temporary` removes it later.
    """
    new = path.with_name(f".{path.name}.{os.getpid()}.new")
    with name_disk_errors(path):
        try:
            yield new
            flush(new)
            os.replace(new, path)
            flush(path.parent)
        except BaseException:
            with suppress(OSError):
                new.unlink()
            raise


def replace_file(path: Path, data: bytes) -> None:
    """Replace a file as a whole, after `remove_leftovers`."""
    remove_leftovers(path)
    with replacing(path) as new:
        new.write_bytes(data)


def remove_leftovers(path: Path) -> None:
    """Remove what killed processes left of earlier attempts to write a file."""
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.new"):
        _remove_unless_written(leftover)


@contextmanager
def parts_folder(path: Path) -> Iterator[Path]:
    """Yield the place of a folder for parts of a file, beside it; it is removed afterwards."""
    parts = path.with_name(f".{path.name}.parts.{os.getpid()}.new")
    try:
        yield parts
    finally:
        shutil.rmtree(parts, ignore_errors=True)


def remove_temporary(folder: Path) -> None:
    """Remove the temporary files below a folder, except for those of running processes."""
    for path in list(folder.rglob(".*.new")):
        _remove_unless_written(path)


def remove_hidden(folder: Path) -> None:
    """Remove the files below a folder whose names begin with a point: temporary ones, of whatever library."""
    for path in list(folder.rglob(".*")):
        if not path.is_dir():
            path.unlink(missing_ok=True)


def _remove_unless_written(path: Path) -> None:
    match = TEMPORARY.fullmatch(path.name)
    if match is None or _is_running(int(match[1])):
        return
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


def flush(path: Path) -> None:
    """Wait until a file, or the list of names in a folder, is on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def flush_tree(folder: Path) -> None:
    """Flush every file and folder below a folder, and the folder itself."""
    for parent, _, names in os.walk(folder, topdown=False):
        for name in names:
            flush(Path(parent, name))
        flush(Path(parent))


@contextmanager
def name_disk_errors(path: Path) -> Iterator[None]:
    """Raise errors of the disk, from any library, as an OSError that names the path, unless they name another."""
    try:
        yield
    except Exception as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise
        number = error.errno if isinstance(error, OSError) else None
        if (match := OS_ERROR.search(str(error))) is not None:
            number = int(match[1])
        elif SHORT_WRITE.search(str(error)):
            number = errno.ENOSPC
        if number not in DISK_ERRORS:
            raise
        raise OSError(number, os.strerror(number), str(path)) from None


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write values as indented JSON; what JSON cannot hold is written as text."""
    with name_disk_errors(path):
        path.write_text(json.dumps(values, indent=2, default=str) + "\n", encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds a mapping. Raises DamagedError where it does not."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # also bytes that are no text
        raise DamagedError(f"{path} is no readable JSON ({error}); make it again") from None
    if not isinstance(values, dict):
        raise DamagedError(f"{path} holds a {type(values).__name__}, expected a mapping; make it again")
    return values


def read_tensors(path: Path, *names: str) -> dict[str, Tensor]:
    """Read a safetensors file, which has to hold the named tensors. Raises DamagedError where it does not."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise DamagedError(f"{path} is no readable safetensors file ({error}); make it again") from None
    if missing := [name for name in names if name not in tensors]:
        raise DamagedError(f"{path} holds no tensor {missing[0]!r}, expected {', '.join(names)}; make it again")
    return tensors


def read_array(path: Path) -> NDArray[Any]:
    """Open a memory-mapped npy file. Raises DamagedError where it is none."""
    import numpy as np

    try:
        return np.asanyarray(np.lib.format.open_memmap(path, mode="r"))
    except (OSError, ValueError, TypeError, OverflowError) as error:
        raise DamagedError(f"{path} is no readable npy file ({error}); make it again") from None
