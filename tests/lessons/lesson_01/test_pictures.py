"""The pictures of lesson 01: they show the numbers they say, and draw at every corner."""

from mtl_helpers.lessons.lesson_01 import pictures as pictures
from mtl_helpers.teaching.figures import cut_off


def test_settings_show_every_setting():
    picture = pictures.settings()
    drawn = {text.get_text() for text in picture.figure.axes[0].texts}
    assert set(pictures.SETTINGS) <= drawn
    assert not cut_off(picture.figure)
