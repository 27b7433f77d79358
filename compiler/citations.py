"""Who to cite: every reference key of ops, presets and docstrings, with its paper."""

from __future__ import annotations

from collections.abc import Iterable
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


def citations_of(keys: Iterable[str]) -> dict[str, Citation]:
    """The papers of these keys, in the order of the keys.

    Raises:
        KeyError: a key that is not in the table (a bug of ours: tests compare the table with its users).
    """
    return {key: CITATIONS[key] for key in keys}


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
    "é": r"{\'e}",
    "–": "--",
    "&": r"\&",
}


def _latex(text: str) -> str:
    return "".join(_ACCENTS.get(letter, letter) for letter in text)


_NEURIPS = "Advances in Neural Information Processing Systems"
_ICLR = "International Conference on Learning Representations"
_ICML = "International Conference on Machine Learning"

CITATIONS: dict[str, Citation] = {
    "ba2016layer": Citation(
        "misc",
        ("Jimmy Lei Ba", "Jamie Ryan Kiros", "Geoffrey E. Hinton"),
        "Layer Normalization",
        "arXiv:1607.06450",
        2016,
        arxiv="1607.06450",
    ),
    "batatia2022mace": Citation(
        "inproceedings",
        ("Ilyes Batatia", "Dávid Péter Kovács", "Gregor N. C. Simm", "Christoph Ortner", "Gábor Csányi"),
        "MACE: Higher Order Equivariant Message Passing Neural Networks for Fast and Accurate Force Fields",
        _NEURIPS,
        2022,
        volume="35",
        arxiv="2206.07697",
    ),
    "batzner2022nequip": Citation(
        "article",
        (
            "Simon Batzner",
            "Albert Musaelian",
            "Lixin Sun",
            "Mario Geiger",
            "Jonathan P. Mailoa",
            "Mordechai Kornbluth",
            "Nicola Molinari",
            "Tess E. Smidt",
            "Boris Kozinsky",
        ),
        "E(3)-equivariant graph neural networks for data-efficient and accurate interatomic potentials",
        "Nature Communications",
        2022,
        volume="13",
        pages="2453",
        doi="10.1038/s41467-022-29939-5",
        arxiv="2101.03164",
    ),
    "boor1978guide": Citation(
        "book",
        ("Carl de Boor",),
        "A Practical Guide to Splines",
        "Springer",
        1978,
        doi="10.1007/978-1-4612-6333-3",
    ),
    "cohen2018spherical": Citation(
        "inproceedings",
        ("Taco S. Cohen", "Mario Geiger", "Jonas Köhler", "Max Welling"),
        "Spherical CNNs",
        "International Conference on Learning Representations",
        2018,
        arxiv="1801.10130",
    ),
    "deng2021vector": Citation(
        "inproceedings",
        (
            "Congyue Deng",
            "Or Litany",
            "Yueqi Duan",
            "Adrien Poulenard",
            "Andrea Tagliasacchi",
            "Leonidas J. Guibas",
        ),
        "Vector Neurons: A General Framework for SO(3)-Equivariant Networks",
        "International Conference on Computer Vision",
        2021,
        arxiv="2104.12229",
    ),
    "domina2026symmetry": Citation(
        "misc",
        ("Michelangelo Domina", "Joseph William Abbott", "Paolo Pegolo", "Filippo Bigi", "Michele Ceriotti"),
        "How unconstrained machine-learning models learn physical symmetries",
        "arXiv:2603.24638",
        2026,
        arxiv="2603.24638",
    ),
    "drautz2019ace": Citation(
        "article",
        ("Ralf Drautz",),
        "Atomic cluster expansion for accurate and transferable interatomic potentials",
        "Physical Review B",
        2019,
        volume="99",
        pages="014104",
        doi="10.1103/PhysRevB.99.014104",
    ),
    "finzi2021residual": Citation(
        "inproceedings",
        ("Marc Finzi", "Gregory Benton", "Andrew Gordon Wilson"),
        "Residual Pathway Priors for Soft Equivariance Constraints",
        _NEURIPS,
        2021,
        volume="34",
        arxiv="2112.01388",
    ),
    "gasteiger2020dimenet": Citation(
        "inproceedings",
        ("Johannes Gasteiger", "Janek Groß", "Stephan Günnemann"),
        "Directional Message Passing for Molecular Graphs",
        _ICLR,
        2020,
        arxiv="2003.03123",
    ),
    "geiger2022e3nn": Citation(
        "misc",
        ("Mario Geiger", "Tess Smidt"),
        "e3nn: Euclidean Neural Networks",
        "arXiv:2207.09453",
        2022,
        arxiv="2207.09453",
    ),
    "gilmer2017neural": Citation(
        "inproceedings",
        ("Justin Gilmer", "Samuel S. Schoenholz", "Patrick F. Riley", "Oriol Vinyals", "George E. Dahl"),
        "Neural Message Passing for Quantum Chemistry",
        _ICML,
        2017,
        pages="1263–1272",
        arxiv="1704.01212",
    ),
    "gong2023deephe3": Citation(
        "article",
        ("Xiaoxun Gong", "He Li", "Nianlong Zou", "Runzhang Xu", "Wenhui Duan", "Yong Xu"),
        "General framework for E(3)-equivariant neural network representation of density functional theory "
        "Hamiltonian",
        "Nature Communications",
        2023,
        volume="14",
        pages="2848",
        arxiv="2210.13955",
    ),
    "greydanus2019hamiltonian": Citation(
        "inproceedings",
        ("Samuel Greydanus", "Misko Dzamba", "Jason Yosinski"),
        "Hamiltonian Neural Networks",
        _NEURIPS,
        2019,
        volume="32",
        arxiv="1906.01563",
    ),
    "hairer1993solving": Citation(
        "book",
        ("Ernst Hairer", "Syvert P. Nørsett", "Gerhard Wanner"),
        "Solving Ordinary Differential Equations I: Nonstiff Problems, second revised edition",
        "Springer",
        1993,
        doi="10.1007/978-3-540-78862-1",
    ),
    "hairer2006geometric": Citation(
        "book",
        ("Ernst Hairer", "Christian Lubich", "Gerhard Wanner"),
        "Geometric Numerical Integration: Structure-Preserving Algorithms for Ordinary Differential Equations, "
        "second edition",
        "Springer",
        2006,
        doi="10.1007/3-540-30666-8",
    ),
    "hornik1989mlp": Citation(
        "article",
        ("Kurt Hornik", "Maxwell Stinchcombe", "Halbert White"),
        "Multilayer feedforward networks are universal approximators",
        "Neural Networks",
        1989,
        volume="2",
        pages="359–366",
        doi="10.1016/0893-6080(89)90020-8",
    ),
    "huber1964robust": Citation(
        "article",
        ("Peter J. Huber",),
        "Robust Estimation of a Location Parameter",
        "The Annals of Mathematical Statistics",
        1964,
        volume="35",
        pages="73–101",
        doi="10.1214/aoms/1177703732",
    ),
    "kingma2015adam": Citation(
        "inproceedings",
        ("Diederik P. Kingma", "Jimmy Ba"),
        "Adam: A Method for Stochastic Optimization",
        _ICLR,
        2015,
        arxiv="1412.6980",
    ),
    "liao2024equiformerv2": Citation(
        "inproceedings",
        ("Yi-Lun Liao", "Brandon Wood", "Abhishek Das", "Tess Smidt"),
        "EquiformerV2: Improved Equivariant Transformer for Scaling to Higher-Degree Representations",
        "International Conference on Learning Representations",
        2024,
        arxiv="2306.12059",
    ),
    "liu2025muon": Citation(
        "misc",
        ("Jingyuan Liu", "Jianlin Su", "Xingcheng Yao", "others"),
        "Muon is Scalable for LLM Training",
        "arXiv",
        2025,
        arxiv="2502.16982",
    ),
    "loshchilov2017sgdr": Citation(
        "inproceedings",
        ("Ilya Loshchilov", "Frank Hutter"),
        "SGDR: Stochastic Gradient Descent with Warm Restarts",
        _ICLR,
        2017,
        arxiv="1608.03983",
    ),
    "loshchilov2019decoupled": Citation(
        "inproceedings",
        ("Ilya Loshchilov", "Frank Hutter"),
        "Decoupled Weight Decay Regularization",
        _ICLR,
        2019,
        arxiv="1711.05101",
    ),
    "luo2024gaunt": Citation(
        "inproceedings",
        ("Shengjie Luo", "Tianlang Chen", "Aditi S. Krishnapriyan"),
        "Enabling Efficient Equivariant Operations in the Fourier Basis via Gaunt Tensor Products",
        "International Conference on Learning Representations",
        2024,
        arxiv="2401.10216",
    ),
    "passaro2023escn": Citation(
        "inproceedings",
        ("Saro Passaro", "C. Lawrence Zitnick"),
        "Reducing SO(3) Convolutions to SO(2) for Efficient Equivariant GNNs",
        "International Conference on Machine Learning",
        2023,
        arxiv="2302.03655",
    ),
    "polyak1992acceleration": Citation(
        "article",
        ("Boris T. Polyak", "Anatoli B. Juditsky"),
        "Acceleration of Stochastic Approximation by Averaging",
        "SIAM Journal on Control and Optimization",
        1992,
        volume="30",
        pages="838–855",
        doi="10.1137/0330046",
    ),
    "puny2022frame": Citation(
        "inproceedings",
        (
            "Omri Puny",
            "Matan Atzmon",
            "Heli Ben-Hamu",
            "Ishan Misra",
            "Aditya Grover",
            "Edward J. Smith",
            "Yaron Lipman",
        ),
        "Frame Averaging for Invariant and Equivariant Network Design",
        "International Conference on Learning Representations",
        2022,
        arxiv="2110.03336",
    ),
    "reddi2018convergence": Citation(
        "inproceedings",
        ("Sashank J. Reddi", "Satyen Kale", "Sanjiv Kumar"),
        "On the Convergence of Adam and Beyond",
        _ICLR,
        2018,
        arxiv="1904.09237",
    ),
    "satorras2021egnn": Citation(
        "inproceedings",
        ("Victor Garcia Satorras", "Emiel Hoogeboom", "Max Welling"),
        "E(n) Equivariant Graph Neural Networks",
        _ICML,
        2021,
        pages="9323–9332",
        arxiv="2102.09844",
    ),
    "schutt2017schnet": Citation(
        "inproceedings",
        (
            "Kristof T. Schütt",
            "Pieter-Jan Kindermans",
            "Huziel E. Sauceda",
            "Stefan Chmiela",
            "Alexandre Tkatchenko",
            "Klaus-Robert Müller",
        ),
        "SchNet: A continuous-filter convolutional neural network for modeling quantum interactions",
        _NEURIPS,
        2017,
        volume="30",
        arxiv="1706.08566",
    ),
    "schutt2021painn": Citation(
        "inproceedings",
        ("Kristof T. Schütt", "Oliver T. Unke", "Michael Gastegger"),
        "Equivariant message passing for the prediction of tensorial properties and molecular spectra",
        "International Conference on Machine Learning",
        2021,
        arxiv="2102.03150",
    ),
    "shoemake1992uniform": Citation(
        "incollection",
        ("Ken Shoemake",),
        "Uniform Random Rotations",
        "Graphics Gems III",
        1992,
        pages="124–132",
    ),
    "swope1982computer": Citation(
        "article",
        ("William C. Swope", "Hans C. Andersen", "Peter H. Berens", "Kent R. Wilson"),
        "A computer simulation method for the calculation of equilibrium constants for the formation of physical "
        "clusters of molecules: Application to small water clusters",
        "The Journal of Chemical Physics",
        1982,
        volume="76",
        pages="637–649",
        doi="10.1063/1.442716",
    ),
    "thomas2018tensor": Citation(
        "misc",
        (
            "Nathaniel Thomas",
            "Tess Smidt",
            "Steven Kearnes",
            "Lusann Yang",
            "Li Li",
            "Kai Kohlhoff",
            "Patrick Riley",
        ),
        "Tensor field networks: Rotation- and translation-equivariant neural networks for 3D point clouds",
        "arXiv:1802.08219",
        2018,
        arxiv="1802.08219",
    ),
    "unke2021spookynet": Citation(
        "article",
        (
            "Oliver T. Unke",
            "Stefan Chmiela",
            "Michael Gastegger",
            "Kristof T. Schütt",
            "Huziel E. Sauceda",
            "Klaus-Robert Müller",
        ),
        "SpookyNet: Learning force fields with electronic degrees of freedom and nonlocal effects",
        "Nature Communications",
        2021,
        volume="12",
        pages="7273",
        doi="10.1038/s41467-021-27504-0",
    ),
    "watanabe2023pedanova": Citation(
        "inproceedings",
        ("Shuhei Watanabe", "Archit Bansal", "Frank Hutter"),
        "PED-ANOVA: Efficiently Quantifying Hyperparameter Importance in Arbitrary Subspaces",
        "International Joint Conference on Artificial Intelligence",
        2023,
        arxiv="2304.10255",
    ),
    "watanabe2023tpe": Citation(
        "misc",
        ("Shuhei Watanabe",),
        "Tree-Structured Parzen Estimator: Understanding Its Algorithm Components and Their Roles for Better "
        "Empirical Performance",
        "arXiv:2304.11127",
        2023,
        arxiv="2304.11127",
    ),
    "weiler2018steerable": Citation(
        "inproceedings",
        ("Maurice Weiler", "Mario Geiger", "Max Welling", "Wouter Boomsma", "Taco Cohen"),
        "3D Steerable CNNs: Learning Rotationally Equivariant Features in Volumetric Data",
        _NEURIPS,
        2018,
        volume="31",
        arxiv="1807.02547",
    ),
    "zhang2018deeppotse": Citation(
        "inproceedings",
        ("Linfeng Zhang", "Jiequn Han", "Han Wang", "Wissam A. Saidi", "Roberto Car", "Weinan E"),
        "End-to-end Symmetry Preserving Inter-atomic Potential Energy Model for Finite and Extended Systems",
        _NEURIPS,
        2018,
        arxiv="1805.09003",
    ),
}
