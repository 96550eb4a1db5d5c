"""Several processes compute the reference's log-probabilities together, once, and train on the same numbers as one."""

import pytest

from tests.contract.lifecycle.conftest import LORA
from tests.tiny import tiny_preferences

LAST = 12
SMALL = {"max_steps": LAST, "save_steps": LAST, "precompute_ref_log_probs": True, **LORA}


def test_progress_counts_the_batches_that_are_precomputed(new_run, operator, tmp_path):
    run = new_run(
        environment={"HF_HOME": str(tmp_path), **operator.environment},
        run={"progressIntervalSeconds": 0.001},
        precompute_ref_batch_size=1,
        **SMALL,
    )
    run.complete()
    assert operator.phases()[:3] == ["Loading", "Precomputing", "Training"]
    reports = [report for report in operator.reports if report["alignment"].get("phase") == "Precomputing"]
    counts = [report["alignment"]["step"] for report in reports if "step" in report["alignment"]]
    assert counts == sorted(counts)
    assert len(set(counts)) > 3, "told while it goes on"
    assert {report["alignment"]["totalSteps"] for report in reports if "step" in report["alignment"]} == {64}
    left = [report["trainerStatus"].get("estimatedRemainingSeconds") for report in reports]
    assert left[0] is None, "nothing is known before the first batch"
    assert any(seconds is not None for seconds in left)
    assert all("progressPercentage" not in report["trainerStatus"] for report in reports), "of the run's own steps"
    after = [report["alignment"] for report in operator.reports if report["alignment"].get("phase") == "Training"]
    assert {facts["totalSteps"] for facts in after if "totalSteps" in facts} == {LAST}
    assert run.journal()[-1]["step"] == LAST


def losses(run):
    return [float(loss) for loss in run.losses(LAST).values()]


def test_what_two_processes_have_computed_one_process_takes_from_the_cache(new_run, tmp_path):
    volume = {"HF_HOME": str(tmp_path)}
    (tmp_path / "data").mkdir()
    tiny_preferences(tmp_path / "data" / "train.jsonl", 63)  # the shares are padded, which must not reach the entry
    data = {"dataset_name": str(tmp_path / "data")}
    two = new_run(run={"processesPerNode": 2}, environment=volume, per_device_train_batch_size=2, **data, **SMALL)
    two.complete()
    (entry,) = (tmp_path / "reference-log-probs").iterdir()
    written = entry.stat().st_mtime_ns
    one = new_run(environment=volume, **data, **SMALL)
    pod = one.complete()
    assert "Reference log-probabilities of train: 63 rows from the cache." in pod.output
    assert list((tmp_path / "reference-log-probs").iterdir()) == [entry]
    assert entry.stat().st_mtime_ns == written
    assert losses(one) == pytest.approx(losses(two), abs=2e-5)
