"""Claims measured on a model or on an exported file."""

from .certificate import Certificate, Item
from .measure import certify
from .probes import parity_item, probes, reproduction_item
from .render import certificate_table, render_certificate
from .subject import Subject
from .verify import verify_file

__all__ = [
    "Certificate",
    "Item",
    "Subject",
    "certificate_table",
    "certify",
    "parity_item",
    "probes",
    "render_certificate",
    "reproduction_item",
    "verify_file",
]
