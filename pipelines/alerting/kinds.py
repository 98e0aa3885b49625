"""The kinds of alerts: how severe each is, whether anyone must act, and the line of the runbook. The one table."""

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        return list(Severity).index(self)


class Kind(StrEnum):
    """What people are told of."""

    TASK_FAILED = "task_failed"
    FILE_REFUSED = "file_refused"
    FILE_SCHEMA = "file_schema"
    FILE_WAITS = "file_waits"
    FILE_ODD = "file_odd"
    ROWS_QUARANTINED = "rows_quarantined"
    DATASET_LATE = "dataset_late"
    FEATURES_DOUBTFUL = "features_doubtful"
    FEATURES_REFUSED = "features_refused"
    DRIFT = "drift"
    VANISHED = "vanished"
    DECAY = "decay"
    GATE_FAILED = "gate_failed"
    CHAMPION_CHANGED = "champion_changed"
    CHAMPION_OVERRIDE = "champion_override"
    CHAMPION_ROLLED_BACK = "champion_rolled_back"
    ROLLOUT_TAKEN_BACK = "rollout_taken_back"
    TRAINING_FORCED = "training_forced"
    CHAMPION_MISSING = "champion_missing"
    SERVING_BEHIND = "serving_behind"
    SERVING_DEGRADED = "serving_degraded"
    TEST = "test"

    @property
    def anchor(self) -> str:
        """Its heading in the runbook."""
        return self.value.replace("_", "-")


@dataclass(frozen=True)
class Facts:
    """What holds of every alert of a kind; `lasts` until it is over, or happened at a moment and is told once."""

    severity: Severity
    act: str
    runbook: str
    lasts: bool = True


KINDS: dict[Kind, Facts] = {
    Kind.TASK_FAILED: Facts(
        Severity.CRITICAL,
        "Yes. Read the task's log; the DAG's documentation says what to do. Nothing was lost.",
        "mend what the log names, then clear the task",
    ),
    Kind.FILE_REFUSED: Facts(
        Severity.WARNING,
        "Not now. The rest went on; `evergreen quarantine list` shows what is held back.",
        "ask who sent it, then release or discard the file",
    ),
    Kind.FILE_SCHEMA: Facts(
        Severity.WARNING,
        "Yes. The next file will be refused too, until its sender or the dataset's yaml changes.",
        "`evergreen quarantine show` names the columns; `evergreen schema` changes ours",
    ),
    Kind.FILE_WAITS: Facts(
        Severity.WARNING,
        "If it is told again. The other files went on and this one lies in the landing folder; the log has the fault.",
        "report the fault; the file is tried three times, then refused",
    ),
    Kind.FILE_ODD: Facts(
        Severity.WARNING,
        "Not now. Its rows are in, or it was never opened; look whether its sender changed something.",
        "`evergreen status` names columns that nobody expected, volumes and files without a dataset",
        lasts=False,
    ),
    Kind.ROWS_QUARANTINED: Facts(
        Severity.INFO,
        "Not now. The rest went on; `evergreen quarantine list` shows what is held back.",
        "`evergreen quarantine show` gives line, rule and bytes of each row",
    ),
    Kind.DATASET_LATE: Facts(
        Severity.WARNING,
        "Yes. Ask who sends it; what reads it goes on with what it knew.",
        "look at the landing folder and at the sender",
    ),
    Kind.FEATURES_DOUBTFUL: Facts(
        Severity.WARNING,
        "Not now. The rows were published; see the tab Evergreen of the DAG features.",
        "`evergreen features health` shows each check beside earlier runs",
    ),
    Kind.FEATURES_REFUSED: Facts(
        Severity.CRITICAL,
        "Yes. The rows were not published; mend the view or its data, compute again.",
        "`evergreen features health` shows the critical check",
    ),
    Kind.DRIFT: Facts(
        Severity.WARNING,
        "Not now. A training was asked for, and its gate decides. Look whether a feed changed its meaning.",
        "read the drift page; `evergreen why` tells what the training did",
    ),
    Kind.VANISHED: Facts(
        Severity.CRITICAL,
        "Yes. The model answers without this input; find out who stopped sending it.",
        "look for the feed that the column comes from",
    ),
    Kind.DECAY: Facts(
        Severity.WARNING,
        "Not now. A training was asked for. Act if its gate does not pass either.",
        "read the performance page; roll back if an earlier version does better",
    ),
    Kind.GATE_FAILED: Facts(
        Severity.INFO,
        "No. The champion stays.",
        "read the verdict; act only if every candidate fails",
        lasts=False,
    ),
    Kind.CHAMPION_CHANGED: Facts(
        Severity.INFO, "No. It passed its gate.", "`evergreen why` tells its story", lasts=False
    ),
    Kind.CHAMPION_OVERRIDE: Facts(
        Severity.WARNING,
        "Not now. A person took it upon themselves; the next candidate is judged as ever.",
        "ask who did it; `evergreen rollback` undoes it",
        lasts=False,
    ),
    Kind.CHAMPION_ROLLED_BACK: Facts(
        Severity.WARNING,
        "Not now. An earlier version answers; find out what was wrong with the one taken back.",
        "`evergreen why` of the version taken back, then train anew",
        lasts=False,
    ),
    Kind.ROLLOUT_TAKEN_BACK: Facts(
        Severity.CRITICAL,
        "Yes. The champion answers everybody; read why, and train anew.",
        "`evergreen rollout` shows the test that was breached",
        lasts=False,
    ),
    Kind.TRAINING_FORCED: Facts(
        Severity.WARNING,
        "No. A person went past cool-down or quiet hours; its gate decides as ever.",
        "ask who did it, if you did not expect it",
        lasts=False,
    ),
    Kind.CHAMPION_MISSING: Facts(
        Severity.CRITICAL,
        "Yes. Serving answers on with what it holds, and could not load it again.",
        "roll back, or promote another version, before serving restarts",
    ),
    Kind.SERVING_BEHIND: Facts(
        Severity.CRITICAL,
        "Yes. Serving does not answer with the champion.",
        "`GET /v1/models` says why; serving's log says more",
    ),
    Kind.SERVING_DEGRADED: Facts(
        Severity.WARNING,
        "Yes. Look whether the online store answers and the features are computed; what was answered stays as it is.",
        "`evergreen features` says which view is late; serving's log names a store that does not answer",
    ),
    Kind.TEST: Facts(Severity.INFO, "No. This is a test.", "nothing is to be done", lasts=False),
}
