"""Lesson 02 · The loss formula."""
