"""``python -m xgraph`` is the same as ``xgraph``."""

from xgraph.cli import main

if __name__ == "__main__":
    main()
