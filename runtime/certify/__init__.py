"""Claims measured on a model or on an exported file."""

from .certificate import Certificate, Item
from .measure import certify
from .probes import parity_item, probes
from .render import certificate_table, render_certificate
from .verify import verify_file

__all__ = [
    "Certificate",
    "Item",
    "certificate_table",
    "certify",
    "parity_item",
    "probes",
    "render_certificate",
    "verify_file",
]
