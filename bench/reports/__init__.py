"""Report formats: one file each, `render(report) -> str`."""
