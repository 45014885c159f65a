"""Lesson 10 · GPU case study."""
