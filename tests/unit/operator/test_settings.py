"""The settings file: what is written wins over defaults, flags over the file, and a typing error is told by name."""

import json
from dataclasses import asdict

import pytest

from alignment_operator.settings import Settings, SettingsProblem, load


def test_no_file_means_the_defaults():
    assert load() == Settings()


def test_every_setting_survives_the_file(tmp_path):
    path = tmp_path / "settings.yaml"
    path.write_text(json.dumps(asdict(Settings())))
    assert load(path) == Settings()


def test_flags_win_over_the_file_field_by_field(tmp_path):
    path = tmp_path / "settings.yaml"
    path.write_text("workers: 3\nprogress: {url: https://file, port: 1}\n")
    loaded = load(path, {"workers": 4, "progress": {"port": 2}})
    assert (loaded.workers, loaded.progress.url, loaded.progress.port) == (4, "https://file", 2)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("wrokers: 3", ["wrokers"]),
        ("pods: {imge: x}", ["pods.imge"]),
        ("workers: many", ["workers", "integer"]),
        ("workers: x\nresync_seconds: y", ["workers", "resync_seconds"]),
        ("run_history: 50", ["run_history", "10"]),
        ("- a", ["mapping"]),
        ("a: [", ["settings.yaml"]),
    ],
)
def test_a_mistake_is_told_with_its_name(tmp_path, text, words):
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    with pytest.raises(SettingsProblem) as problem:
        load(path)
    assert all(word in str(problem.value) for word in words)


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(SettingsProblem, match=r"nowhere\.yaml"):
        load(tmp_path / "nowhere.yaml")
