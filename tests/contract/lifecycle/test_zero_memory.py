"""The memory estimate against the tensors of two processes under ZeRO (docs/memory.md); `make zero`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contract.lifecycle.zero_cells import ZeroCalibration, ZeroCell, cells

TOLERANCE = 0.10  # of the peak
PADDING = 0.001  # of the states: parts of equal size


@pytest.fixture(scope="module")
def calibration(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ZeroCalibration]:
    made = ZeroCalibration(tmp_path_factory.mktemp("zero"))
    yield made
    made.zygote.close()


@pytest.mark.slow
@pytest.mark.parametrize("cell", cells(), ids=lambda cell: cell.name)
def test_the_estimate_is_what_the_tensors_of_each_process_take(calibration: ZeroCalibration, cell: ZeroCell) -> None:
    for report in calibration.measure(cell):
        parts, counted = report["predicted"], report["counted"]
        assert parts["weights"] + parts["adapter"] == pytest.approx(counted["weights"], rel=PADDING)
        assert parts["reference"] == pytest.approx(counted["reference"], rel=PADDING)
        assert parts["optimizer"] == pytest.approx(counted["optimizer"], rel=PADDING)
        if cell.stage > 1 or "accumulated" not in cell.name:  # stage 1 adds up whole gradients, and steps with its part
            assert parts["gradients"] == pytest.approx(counted["gradients"], rel=PADDING)
        assert max(report["moments"].values()) == pytest.approx(counted["peak"], rel=TOLERANCE)
