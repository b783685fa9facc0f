"""Committed objects tell the size of the next one, unless the user switches that off."""

import numpy as np
import pytest

from napari_promptable.annotation.known_sizes import expect_next_size
from napari_promptable.batch.replay import replay_document
from napari_promptable.files.prompts_json import read_prompts
from napari_promptable.sizes import expect_size

pytestmark = pytest.mark.gui

CENTRES = [(20, 20), (20, 60), (50, 20), (50, 60)]


@pytest.fixture
def user(open_desk, make_disks):
    """A person who has committed one disk."""
    user = open_desk(make_disks((70, 80), CENTRES).image)
    user.click(CENTRES[0])
    user.press("C")
    return user


def size_now(user):
    return user.session.prompts.of_current[()].expected_size


def test_the_next_object_is_expected_to_be_as_large(user) -> None:
    area = np.count_nonzero(user.labels == 1)
    assert user.session.prompts.of(1)[()].expected_size is None
    user.click(CENTRES[1])
    assert size_now(user) == expect_size([area])
    user.click((22, 62))
    assert size_now(user) == expect_size([area]), "a correction asks the same question"


def test_the_switch_asks_again_without_a_size(user) -> None:
    user.click(CENTRES[1])
    user.control("objects_fold").click()
    user.push("expect_sizes")
    assert size_now(user) is None
    user.push("expect_sizes")
    assert size_now(user) == expect_next_size(user.session)


def test_an_object_keeps_its_question_when_others_follow(user) -> None:
    user.click(CENTRES[1])
    first = size_now(user)
    user.press("N")
    user.click(CENTRES[2])
    user.press("C")
    user.choose_object(2)
    user.click((22, 62))
    assert size_now(user) == first


def test_a_script_repeats_the_question(user, fake_model, tmp_path) -> None:
    user.click(CENTRES[1])
    user.press("C")
    path = tmp_path / "prompts.json"
    user.widget.controller.file_actions.save_prompts(str(path), "tiny")
    document = read_prompts(path)
    assert document.objects[2][()].expected_size is not None
    labels = replay_document(lambda _: fake_model, user.image.data, document)
    np.testing.assert_array_equal(labels, user.labels)
