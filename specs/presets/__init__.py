"""One level-2 spec file per architecture."""
