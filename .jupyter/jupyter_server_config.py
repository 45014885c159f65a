"""How `make lab` starts JupyterLab (it puts this folder on JUPYTER_CONFIG_PATH).

Hidden, since a learner needs none of it. labconfig/ beside it turns the news pop-up off, so that
the first thing on the screen is the lesson.
"""

import os
import sys
import warnings

import zmq

from mtl_helpers.teaching.notebooks import pre_save_hook

c = get_config()  # noqa: F821  (Jupyter provides it)

c.LabApp.default_url = "/lab/tree/work/00_start_here.ipynb"  # the learner's copy

# A saved widget view shows "Error displaying widget" the next day; the stored picture does not.
c.ContentsManager.pre_save_hook = pre_save_hook
warnings.filterwarnings("ignore", "Overriding existing pre_save_hook")  # Jupyter sets it twice

# Otherwise each kernel warns in the terminal that others on this machine could listen.
if zmq.has("curve"):
    c.KernelManager.transport_encryption = "auto"

# In a container one is often root, and JupyterLab refuses root unless told.
c.ServerApp.allow_root = hasattr(os, "geteuid") and os.geteuid() == 0

# Without a display a "browser" would be a text one that takes over the terminal.
shows = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
if sys.platform == "linux" and not any(os.environ.get(name) for name in shows):
    c.ServerApp.open_browser = False
