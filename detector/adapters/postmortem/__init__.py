"""Post-mortems as files: Markdown with a plot, beside the state. Before it: `app/historian`. After it: people who fill them in."""

from detector.adapters.postmortem.document import render_document
from detector.adapters.postmortem.plot import draw_plot
from detector.adapters.postmortem.shelf import FileArchive

__all__ = ["FileArchive", "draw_plot", "render_document"]
