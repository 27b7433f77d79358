"""One paper or book, as a line of text or as BibTeX."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["article", "inproceedings", "incollection", "book", "misc"]

_VENUE_FIELD: dict[Kind, str] = {
    "article": "journal",
    "inproceedings": "booktitle",
    "incollection": "booktitle",
    "book": "publisher",
    "misc": "howpublished",
}


@dataclass(frozen=True, slots=True)
class Citation:
    """One paper or book.

    `authors` are written `Given Family`, in order; `venue` is the journal, the conference, or the publisher of
    a book. What is not known for certain is left out.
    """

    kind: Kind
    authors: tuple[str, ...]
    title: str
    venue: str
    year: int
    volume: str = ""
    pages: str = ""
    doi: str = ""
    arxiv: str = ""

    def text(self) -> str:
        """One line: authors, title, venue, year, and where to find it.

        Example:
            >>> from equic.compiler.citations import CITATIONS
            >>> CITATIONS["geiger2022e3nn"].text()
            'M. Geiger and T. Smidt. e3nn: Euclidean Neural Networks. arXiv:2207.09453 (2022).'
        """
        names = [_initials(name) for name in self.authors]
        who = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
        where = " ".join(part for part in (self.venue, self.volume) if part)
        if self.pages:
            where += f", {self.pages}"
        preprint = f"arXiv:{self.arxiv}" if self.arxiv and f"arXiv:{self.arxiv}" != self.venue else ""
        doi = f"doi:{self.doi}" if self.doi else ""
        found = ". ".join(part for part in (preprint, doi) if part)
        return f"{who}. {self.title}. {where} ({self.year})." + (f" {found}." if found else "")

    def bibtex(self, key: str) -> str:
        """One entry, in ASCII, which BibTeX, biber and natbib read alike.

        Example:
            >>> from equic.compiler.citations import CITATIONS
            >>> print(CITATIONS["geiger2022e3nn"].bibtex("geiger2022e3nn"))
            @misc{geiger2022e3nn,
              author = {Mario Geiger and Tess Smidt},
              title = {{e3nn: Euclidean Neural Networks}},
              howpublished = {arXiv:2207.09453},
              year = {2022},
              eprint = {2207.09453},
              archivePrefix = {arXiv},
            }
        """
        fields = {
            "author": " and ".join(self.authors),
            # double braces keep the capitals of names
            "title": f"{{{self.title}}}",
            _VENUE_FIELD[self.kind]: self.venue,
            "volume": self.volume,
            "year": str(self.year),
            "pages": self.pages.replace("–", "--"),
            "doi": self.doi,
            "eprint": self.arxiv,
            "archivePrefix": "arXiv" if self.arxiv else "",
        }
        lines = [f"  {name} = {{{_latex(value)}}}," for name, value in fields.items() if value]
        return "\n".join([f"@{self.kind}{{{key},", *lines, "}"])


def _initials(name: str) -> str:
    *given, family = name.split()
    particles = [part for part in given if part.islower()]
    short = ["-".join(f"{part[0]}." for part in one.split("-")) for one in given if not one.islower()]
    return " ".join([*short, *particles, family])


_ACCENTS = {
    "á": r"{\'a}",
    "ö": r"{\"o}",
    "ü": r"{\"u}",
    "ø": r"{\o}",
    "å": r"{\aa}",
    "ß": r"{\ss}",
    "Ł": r"{\L}",
    "é": r"{\'e}",
    "í": r"{\'i}",
    "ó": r"{\'o}",
    "ä": r"{\"a}",
    "ė": r"{\.e}",
    "ž": r"{\v z}",
    "–": "--",
    "&": r"\&",
}


def _latex(text: str) -> str:
    return "".join(_ACCENTS.get(letter, letter) for letter in text)
