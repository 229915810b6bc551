"""The commands of the command line, one module for each subject; ``run.py`` registers them.

Imports are inside the functions, so that ``--help`` does not import libraries that it does not need.
"""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
