"""Lesson 03 · Shared and task-specific layers."""
