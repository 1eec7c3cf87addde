"""Patch RecBole 1.2.1 where it is installed, so that it runs with numpy 2 and scipy 1.17.

    .venv-peers/bin/python benchmarks/peer_libraries/patch_recbole.py

It replaces names that numpy 2 removed, and a private method that scipy removed. The computation is unchanged. A second
run changes nothing; if neither the old nor the new text is present, it stops.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

PATCHES = {
    "config/configurator.py": [
        ("np.float = np.float_\n", "np.float = np.float64\n"),
        ("np.complex = np.complex_\n", "np.complex = np.complex128\n"),
        ("np.unicode = np.unicode_\n", "np.unicode = np.str_\n"),
    ],
} | {
    f"model/general_recommender/{name}.py": [("A._update(data_dict)\n", "A._dict.update(data_dict)\n")]
    for name in ("lightgcn", "ngcf")
}


def main() -> int:
    found = importlib.util.find_spec("recbole")
    if found is None or found.origin is None:
        print("RecBole is not installed here; run this with the interpreter of .venv-peers (make .venv-peers/done)")
        return 2
    package = Path(found.origin).parent
    for name, changes in PATCHES.items():
        path = package / name
        text = path.read_text()
        for old, new in changes:
            if old not in text and new not in text:
                print(
                    f"{name} has neither {old.strip()!r} nor {new.strip()!r}; is this RecBole 1.2.1? Nothing changed in it."
                )
                return 2
            text = text.replace(old, new)
        path.write_text(text)
    print("RecBole is patched")
    return 0


if __name__ == "__main__":
    sys.exit(main())
