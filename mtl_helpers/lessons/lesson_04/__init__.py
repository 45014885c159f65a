"""Lesson 04 · Balancing tasks."""
