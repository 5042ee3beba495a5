"""Every file of vectors by its name, and the program that writes them: `python -m kit.vectors.files`.

Run it with `PYTHONPATH=tests` from the root of the repository. The files are data, kept there for readers in
other languages; a test makes them again and compares, so that they cannot drift from what makes them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from kit.vectors import keysets, kinds, ledgers, logs, places, states, texts
from kit.vectors.form import File

FOLDER = Path(__file__).resolve().parents[2] / "vectors"

FILES: dict[str, Callable[[], File]] = {
    "json": texts.json_file,
    "base64": texts.base64_file,
    "envelopes": places.envelopes_file,
    "records": kinds.kinds_file,
    "topics": kinds.topics_file,
    "states": states.states_file,
    **keysets.FILES,
    **ledgers.FILES,
    **logs.FILES,
}


def write() -> None:
    """Write every file, and say how many vectors there are."""
    count = 0
    for name, make in FILES.items():
        made = make()
        count += len(made.vectors)
        (FOLDER / f"{name}.json").write_bytes(made.encode())
    print(f"{count} vectors in {len(FILES)} files")


if __name__ == "__main__":
    write()
