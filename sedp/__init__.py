"""SEDP: staged event-driven inference pipelines.

Import from the defining module (`from sedp.stage import Stage`); nothing is re-exported here, so
importing the package costs nothing.
"""

__version__ = "0.1.0"
