"""The nuclei study behind lesson 10; run it with ``python -m mtl_helpers.case_study``."""
