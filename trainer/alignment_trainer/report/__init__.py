"""What a finished run tells about itself: `report/` in the output folder, and the model card.

`record` runs in the process that trained, `make` once the weights are final; the second needs only the output folder:
an attempt which finds every step done makes what is missing. Neither fails a run whose model is saved.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..config import Config

logger = logging.getLogger(__name__)

FOLDER = "report"


def record(config: Config, trainer: Any, train_dataset: Any) -> None:
    """On the main process, when the model is saved: the metrics of all steps, and what only this process knows."""
    if config.training_args.process_index != 0:
        return
    from .. import journal
    from . import history, receipt

    with _optional():
        folder = _folder(config)
        attempts = journal.Journal(config.run.outputPath).attempts()
        begun_at = attempts[-1].checkpoint_step if attempts else 0
        history.write(folder, history.records(trainer.state.log_history, begun_at))
        begun = receipt.begun(config, trainer, train_dataset)
        receipt.write(folder, begun)


def make(config: Config, artifacts: dict[str, str]) -> None:
    """On the main process: the complete receipt, the curves and the model card; nothing if they are there.

    artifacts: kind (adapter, model, merged) -> path relative to the output folder.
    """
    from . import card, curves, history, receipt

    with _optional():
        folder = _folder(config)
        begun = receipt.read(folder) or receipt.begun(config)
        if "weights" in begun:
            return
        metrics = history.read(folder)
        complete = receipt.completed(begun, folder.parent, metrics)
        drawn = curves.draw(metrics, folder / curves.CURVES_FILE, _title(complete), _resumed_at(complete))
        for kind, path in artifacts.items():
            text = card.render(complete, adapter=kind == "adapter", curves=drawn and path == ".")
            (folder.parent / path / card.CARD_FILE).write_text(text, encoding="utf-8")
        receipt.write(folder, complete)  # last: it says that all is there


def _folder(config: Config) -> Path:
    folder = Path(config.run.outputPath) / FOLDER
    folder.mkdir(exist_ok=True)
    return folder


def _title(receipt: dict[str, Any]) -> str:
    job = receipt["job"]
    return f"{job['namespace']}/{job['name']}, run {job['run']}: {receipt['method'].upper()}"


def _resumed_at(receipt: dict[str, Any]) -> list[int]:
    return [attempt["fromStep"] for attempt in receipt["attempts"] if attempt["fromStep"]]


@contextmanager
def _optional() -> Iterator[None]:
    """A report that cannot be made is worth a line in the log, not the work that it is about."""
    try:
        yield
    except Exception:
        logger.exception("The report could not be made; the model is saved all the same.")
