"""WordNet 3.0: nouns or verbs with the synsets that they are a kind or an instance of, from Debian or a folder."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from apps.datasets.taxonomies.taxonomy import Mending, Taxonomy, taxonomy
from apps.io.packages import debian_package

PACKAGE = ("wordnet-base", "1:3.0-37", "61060d960f9ada8fa120872312eccd3ecebfbab8c4579e4f5a74e1cf67620752")
PARENTS = ("@", "@i")  # hypernym, instance hypernym
MOST_BYTES = 200 * 2**20

Part = Literal["nouns", "verbs"]


class Synset(NamedTuple):
    offset: str
    word: str
    parents: tuple[str, ...]


def load(part: Part = "nouns", root: str | Path | None = None, *, mending: Mending = Mending()) -> Taxonomy:
    """The nouns (82,115 synsets) or the verbs (13,767), named as is usual: first word, n or v, number of its sense.

    Args:
        root: a folder with WordNet's data.noun and index.noun; without it the package is used.

    Raises:
        ValueError: a file is missing or damaged; names file and line.
        FetchError: the package cannot be had.
    """
    folder = Path(root).expanduser() if root is not None else debian_package(*PACKAGE) / "usr/share/wordnet"
    kind = part.removesuffix("s")
    synsets = list(_synsets(folder / f"data.{kind}"))
    senses = _senses(folder / f"index.{kind}")
    try:
        names = {each.offset: f"{each.word}.{kind[0]}.{senses[each.word.lower(), each.offset]:02}" for each in synsets}
    except KeyError as error:
        word, offset = error.args[0]
        raise ValueError(
            f"{folder / f'index.{kind}'} has no sense {offset} of {word!r}; expected it of data.{kind}"
        ) from None
    edges = ((names[each.offset], names.get(parent, parent)) for each in synsets for parent in each.parents)
    return taxonomy(f"WordNet {part}", edges, known=names.values(), mending=mending)


def _synsets(path: Path) -> Iterator[Synset]:
    for number, line in _lines(path):
        try:
            fields = line.partition(" | ")[0].split()
            words = int(fields[3], 16)
            start = 5 + 2 * words
            pointers = fields[start : start + 4 * int(fields[start - 1])]
            parents = tuple(
                target for symbol, target in zip(pointers[::4], pointers[1::4], strict=True) if symbol in PARENTS
            )
            yield Synset(fields[0], fields[4], parents)
        except (ValueError, IndexError):
            raise ValueError(
                f"line {number} of {str(path)!r} is no synset of WordNet's database: {line[:60]!r}"
            ) from None


def _senses(path: Path) -> dict[tuple[str, str], int]:
    """The number of a word's sense, by word and synset."""
    found = {}
    for number, line in _lines(path):
        fields = line.split()
        try:
            offsets = fields[-int(fields[2]) :]
        except (ValueError, IndexError):
            raise ValueError(f"line {number} of {str(path)!r} is no line of WordNet's index: {line[:60]!r}") from None
        found.update({(fields[0], offset): sense for sense, offset in enumerate(offsets, start=1)})
    return found


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines after the licence, which is indented by two spaces."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ValueError(f"{str(path)!r} has more than {MOST_BYTES >> 20} MB: it is no file of WordNet")
        with path.open(encoding="utf-8") as file:
            yield from ((number, line) for number, line in enumerate(file, start=1) if not line.startswith("  "))
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{str(path)!r} cannot be read ({error}); expected a file of WordNet's database") from error
