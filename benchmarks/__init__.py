"""One script a question. Each runs as ``python -m benchmarks.<name>`` and writes its figures to ``results/``."""
