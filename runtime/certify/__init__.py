"""Claims measured on a model or on an exported file."""
