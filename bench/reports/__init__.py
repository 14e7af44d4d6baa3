"""Report formats: one file each, `render(report) -> str`; those of other packages `str` or `bytes`."""
