"""What the command line can do, one module for each subject; run.py puts them together.

Imports stay inside the functions: ``--help`` must not pay for libraries that it does not need.
"""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
