"""`python -m equic`."""

from .cli import main

main()
