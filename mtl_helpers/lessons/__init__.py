"""One folder per lesson: its exercises, its pictures and its studies.

Delete the folder and the notebook, and the lesson is gone. A lesson imports the core and the
teaching kit, never another lesson.
"""
