"""Models of other frameworks: one file a format, each with ``open`` and a class that `extend.formats.model` describes."""
