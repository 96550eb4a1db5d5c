"""The tail of a log is bounded, keeps the end, and harms nothing."""

from alignment_trainer.logtail import LogTail


def test_the_end_is_kept_within_the_bound(tmp_path):
    tail = LogTail(tmp_path / "attempt-1.log", limit=1000)
    for number in range(1000):
        tail.write(f"line {number}\n".encode())
    text = (tmp_path / "attempt-1.log").read_text()
    assert len(text) <= 2100
    lines = text.splitlines()
    assert lines[0] == "[...]"
    assert lines[1:] == [f"line {number}" for number in range(1000 - len(lines) + 1, 1000)]


def test_a_short_log_is_whole(tmp_path):
    tail = LogTail(tmp_path / "attempt-1.log")
    tail.write(b"one\n")
    tail.write(b"two\n")
    assert (tmp_path / "attempt-1.log").read_bytes() == b"one\ntwo\n"


def test_a_folder_that_is_gone_is_no_trouble(tmp_path):
    LogTail(tmp_path / "missing" / "attempt-1.log").write(b"one\n")
