"""Lesson 05 · Regularisation."""
