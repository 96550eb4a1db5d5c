"""What bench/train starts: files that our trainer takes, the real commands, and a probe that leaves a process alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from alignment_trainer.run_config import Optimizations, RunConfig
from bench.train import measure, workloads
from bench.train.workloads import VARIANTS

RECIPE = workloads.recipe("lora", Path("model"), Path("data"), Path("unset"), batch=2, steps=3)
RUN = workloads.run_config("dpo", Path("unset"))
TRAINER_LIKE = """
import sys, wave
from pathlib import Path
print(Path(sys.argv[1]).exists())
"""


def test_the_switches_are_those_of_run_yaml() -> None:
    assert set(workloads.OPTIMIZATIONS) == set(Optimizations.model_fields)


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
def test_each_variant_writes_files_for_its_program(variant: workloads.Variant, tmp_path: Path) -> None:
    command = measure.write_files(variant, RECIPE, RUN, tmp_path)
    recipe = yaml.safe_load((tmp_path / "recipe.yaml").read_text())
    if variant.is_stock:
        assert command[1:] == ["dpo", "--config", str(tmp_path / "recipe.yaml")]
    else:
        assert command[1:] == ["-m", "alignment_trainer"]
        run = RunConfig.model_validate(yaml.safe_load((tmp_path / "run.yaml").read_text()))
        assert run.outputPath == recipe["output_dir"]


def test_stock_is_trls_command_of_the_method(tmp_path: Path) -> None:
    run = workloads.run_config("reward", Path("unset"))
    assert measure.write_files(VARIANTS["stock"], RECIPE, run, tmp_path)[1] == "reward"


def test_without_a_reference_model_there_is_none_to_precompute() -> None:
    assert not VARIANTS[workloads.CHOICE].suits("sft")
    assert VARIANTS[workloads.CHOICE].suits("dpo")
    assert VARIANTS["stock"].suits("sft")


def test_only_the_products_choice_has_another_recipe() -> None:
    assert [name for name, variant in VARIANTS.items() if variant.recipe] == [workloads.CHOICE]


def run_probed(tmp_path: Path, program: str, *arguments: str) -> tuple[subprocess.CompletedProcess[str], list[Path]]:
    records = tmp_path / "records"
    records.mkdir()
    environment = measure.environment(tmp_path, records)
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    return done, list(records.iterdir())


def test_the_probe_times_imports_and_changes_nothing_else(tmp_path: Path) -> None:
    done, records = run_probed(tmp_path, TRAINER_LIKE, str(tmp_path))
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")
    (facts,) = (json.loads(file.read_text()) for file in records)
    assert any(phase == "imports" and end >= begin for phase, _, begin, end in facts["spans"])
    assert facts["steps"] == []


def test_the_probe_writes_also_when_the_program_fails(tmp_path: Path) -> None:
    done, records = run_probed(tmp_path, "raise SystemExit(3)")
    assert done.returncode == 3
    assert len(records) == 1


def test_a_program_that_fails_is_reported_with_its_last_words(tmp_path: Path) -> None:
    log = tmp_path / "log"
    command = [sys.executable, "-c", "import sys; print('no such model'); sys.exit(66)"]
    with pytest.raises(measure.RunFailed, match=r"ended with 66:\s+no such model"):
        measure.execute(command, {}, log)


def test_the_peak_is_that_of_the_largest_process_of_the_tree(tmp_path: Path) -> None:
    parent = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'len(bytes([1]) * (200 << 20))'])"
    _, peak = measure.execute([sys.executable, "-c", parent], {}, tmp_path / "log")
    assert peak > 200 << 20
