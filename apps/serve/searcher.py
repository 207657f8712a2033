"""What a page searches with: a gallery, and what makes a query of an upload."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from jaxtyping import Float, UInt8
from torch import Tensor

from apps.serve.gallery import Gallery

Kind = Literal["drawing", "image", "mesh"]


class Query(NamedTuple):
    """What is searched for: its embedding, and how the network sees it, uint8 (3, H, W), where that is to be shown."""

    embedding: Float[Tensor, " D"]
    image: UInt8[Tensor, "3 H W"] | None = None


@dataclass
class Searcher:
    """A trained network and what it searches in.

    Args:
        title: of the page.
        hint: one sentence on what to do there.
        gallery: what is searched in.
        takes: by kind of upload what makes a query of its content and its file's name; raises ValueError, in a
            sentence, where it is no such thing. One is made at a time: networks take memory.
    """

    title: str
    hint: str
    gallery: Gallery
    takes: Mapping[Kind, Callable[[bytes, str], Query]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()

    def query(self, kind: str, content: bytes, name: str) -> Query:
        """A query from an upload.

        Raises:
            ValueError: of a kind that is not taken, or broken.
        """
        for taken, make in self.takes.items():
            if taken == kind:
                with self._lock:
                    return make(content, name)
        raise ValueError(f"this page takes no {kind[:20]!r}; expected one of {', '.join(self.takes) or 'its names'}")
