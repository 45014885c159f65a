"""The teaching kit: what lessons are made with, and what no lesson knows of another.

Pictures, explorers, checks of exercises, recorded results, and the tools that run the notebooks.
The kit imports the core and never a lesson; it finds the lessons' folders by their names.
"""
