"""Models of other frameworks: one file a format, with `open` and a class as `extend.formats.base` describes it."""
