"""The pictures of the lessons, one file a lesson: pure functions behind figures and explorers."""
