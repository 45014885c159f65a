"""Lesson 01 · Theory: why learn tasks together."""
