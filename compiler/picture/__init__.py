"""A graph as a picture: layers, places, SVG."""

from .draw import render_svg

__all__ = ["render_svg"]
