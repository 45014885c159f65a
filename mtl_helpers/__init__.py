"""Small, tested building blocks for learning multi-task learning.

The modules are stacked in floors; a file imports only from floors below it. Start reading at
:mod:`mtl_helpers.tasks` (what a task is), then :mod:`mtl_helpers.training` (the loop).
"""

__version__ = "0.1.0"
