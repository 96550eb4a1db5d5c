"""What the Grafana dashboard shows: rows of panels, each with its PromQL. `dashboard` makes Grafana's JSON of it.

`max by` and `sum by` drop the labels of the scraped replica: after a change of the leader two of them have a series for
a moment. `$namespace` and `$alignmentjob` are the choices at the top of the page.
"""

from dataclasses import dataclass

IN_NAMESPACE = '{namespace=~"$namespace"}'
CHOSEN = '{namespace=~"$namespace", alignmentjob=~"$alignmentjob"}'
JOBS = 'alignment_operator_alignmentjobs{namespace=~"$namespace"'
RUNS = 'alignment_operator_runs_finished_total{namespace=~"$namespace"'
GPUS = f"alignment_operator_gpus{IN_NAMESPACE}"
BY_QUEUE = "max by (namespace, queue)"
CONTROLLER = '{controller="alignmentjob"}'
WORK_QUEUE = '{name="alignmentjob"}'
# Of all processes that Prometheus scrapes, those of this operator.
OF_OURS = f" and on (instance) controller_runtime_max_concurrent_reconciles{CONTROLLER}"
JOB_NAME = "{{namespace}}/{{alignmentjob}}"
QUEUE_NAME = "{{namespace}}/{{queue}}"


@dataclass(frozen=True)
class Panel:
    """`queries`: PromQL and the legend of each. `unit`: of Grafana's. `width`: of 24 columns."""

    title: str
    queries: tuple[tuple[str, str], ...]
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 8
    text: str = ""
    stacked: bool = False


def graph(title: str, query: str, legend: str, unit: str = "short", text: str = "", stacked: bool = False) -> Panel:
    return Panel(title, ((query, legend),), unit, text=text, stacked=stacked)


def stat(title: str, query: str, text: str = "") -> Panel:
    """One number; 0 where there is no series."""
    return Panel(title, ((f"{query} or vector(0)", ""),), kind="stat", width=4, text=text)


def quantiles(title: str, histogram: str, labels: str = "", text: str = "") -> Panel:
    """Median and a high quantile of seconds."""
    buckets = f"sum by (le) (rate({histogram}_bucket{labels}[$__rate_interval]))"
    parts = ((0.5, "p50"), (0.95, "p95"))
    return Panel(title, tuple((f"histogram_quantile({q}, {buckets})", name) for q, name in parts), "s", text=text)


def of_job(series: str) -> str:
    """The latest value of a series of each chosen job."""
    return f"max by (namespace, alignmentjob) (alignment_operator_job_{series}{CHOSEN})"


def metric(name: str) -> str:
    """A training metric of each chosen job."""
    chosen = CHOSEN.replace("}", f', metric="{name}"}}')
    return f"max by (namespace, alignmentjob) (alignment_operator_job_metric{chosen})"


NOW = (
    stat("Running", f'sum({JOBS}, phase="Running"}})'),
    stat("Queued", f'sum({JOBS}, phase="Queued"}})'),
    stat("Cannot start", f'sum({JOBS}, phase="Starting", failure_class!=""}})'),
    stat("Failed in this time", f'round(sum(increase({RUNS}, outcome="Failed"}}[$__range])))', text="Runs."),
    stat("GPUs held", f"sum({GPUS})"),
    stat(
        "GPU-hours in this time",
        f"sum(sum_over_time({GPUS}[$__range:1m])) / 60",
        text="By what was held each minute, so those of jobs that were deleted since are in it.",
    ),
)
JOBS_OVER_TIME = (
    graph("Jobs by phase", f"sum by (phase) ({JOBS}}})", "{{phase}}", stacked=True),
    graph("Jobs by method", f"sum by (method) ({JOBS}}})", "{{method}}", stacked=True),
    graph(
        "Failed runs by class",
        "sum by (failure_class) (increase(alignment_operator_run_failures_total[$__rate_interval])) > 0",
        "{{failure_class}}",
        text="Of all namespaces. docs/failures.md has the classes.",
    ),
    graph("GPUs held", f"sum by (namespace) ({GPUS})", "{{namespace}}", stacked=True),
    graph(
        "GPU-seconds of pods that ended",
        f"sum by (namespace) (increase(alignment_operator_gpu_seconds_total{IN_NAMESPACE}[$__rate_interval]))",
        "{{namespace}}",
        unit="s",
    ),
    quantiles("Length of runs", "alignment_operator_run_duration_seconds"),
)
QUEUES = (
    graph("Jobs that wait", f"{BY_QUEUE} (alignment_operator_queue_jobs{IN_NAMESPACE})", QUEUE_NAME, stacked=True),
    graph(
        "The longest wait now",
        f"{BY_QUEUE} (alignment_operator_queue_longest_wait_seconds{IN_NAMESPACE})",
        QUEUE_NAME,
        unit="s",
    ),
    quantiles("Wait of those that were admitted", "alignment_operator_queue_wait_seconds", IN_NAMESPACE),
)
TRAINING = (
    Panel(
        "Jobs that are not over",
        (
            (
                f"max by (namespace, alignmentjob, method, queue, phase, reason) (alignment_operator_job_info{CHOSEN})",
                "",
            ),
        ),
        kind="table",
        width=24,
    ),
    graph("Progress", f"{of_job('step')} / {of_job('planned_steps')}", JOB_NAME, unit="percentunit"),
    graph("Time left", of_job("remaining_seconds"), JOB_NAME, unit="s"),
    graph("Time of a step", of_job("step_seconds"), JOB_NAME, unit="s"),
    graph("Loss", metric("loss"), JOB_NAME),
    graph("Reward margin", metric("rewards/margins"), JOB_NAME),
    graph("Reward accuracy", metric("rewards/accuracies"), JOB_NAME, unit="percentunit"),
    graph("Tokens per second", of_job("tokens_per_second"), JOB_NAME),
    graph("Peak memory of a process", of_job("peak_memory_bytes"), JOB_NAME, unit="bytes"),
    graph("GPU-seconds of the run", of_job("gpu_seconds"), JOB_NAME, unit="s"),
    graph("Attempt", of_job("attempt"), JOB_NAME),
    graph("Lost steps", of_job("lost_steps"), JOB_NAME),
    graph(
        "Work since the last checkpoint",
        f"time() - {of_job('last_checkpoint_timestamp_seconds')}",
        JOB_NAME,
        unit="s",
        text="What a lost node would cost.",
    ),
)
OPERATOR = (
    graph(
        "Reconciles",
        f"sum by (result) (rate(controller_runtime_reconcile_total{CONTROLLER}[$__rate_interval]))",
        "{{result}}",
        unit="ops",
    ),
    quantiles("Time of a reconcile", "controller_runtime_reconcile_time_seconds", CONTROLLER),
    quantiles("Wait for a worker", "workqueue_queue_duration_seconds", WORK_QUEUE),
    graph("Keys in the queue", f"max(workqueue_depth{WORK_QUEUE})", "keys"),
    graph(
        "Progress reports",
        "sum by (code) (rate(alignment_operator_progress_reports_total[$__rate_interval]))",
        "HTTP {{code}}",
        unit="ops",
    ),
    graph(
        "Leader",
        f"leader_election_master_status{OF_OURS}",
        "{{instance}}",
        text="One at any time; none for up to the Lease's length when it changes.",
    ),
    graph("CPU", f"rate(process_cpu_seconds_total[$__rate_interval]){OF_OURS}", "{{instance}}"),
    graph("Memory", f"process_resident_memory_bytes{OF_OURS}", "{{instance}}", unit="bytes"),
    graph(
        "Objects that the watches missed",
        "sum by (resource) (increase(alignment_operator_watch_missed_total[$__range]))",
        "{{resource}}",
    ),
)
ROWS = {"Now": NOW, "Jobs": JOBS_OVER_TIME, "Queues": QUEUES, "Training": TRAINING, "Operator": OPERATOR}
