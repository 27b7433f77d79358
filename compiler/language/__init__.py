"""The spec language: source text with spans, schema, diagnostics, elaboration."""
