"""The configuration of the service: which workloads, measured where, under which costs and limits."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from harmonia.core.errors import InputError
from harmonia.sequences.harmony.adaptation import Adaptation
from harmonia.sequences.harmony.scaler import ResourceScaler


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of the configuration; unknown keys are refused."""


class WorkloadConfig(_Strict, frozen=True):
    """One workload of the service.

    Attributes:
        name: For addresses and labels.
        unit: Of its demand as it is measured; it must be said, since cores and millicores are easily confused.
        unit_capacity: Of one replica, in cores, GB, GPUs or requests.
        demand: PromQL of the demand; or, with `file`, the column of it.
        indicators: PromQL of further indicators by name; or, with `file`, columns by name.
        replicas: PromQL of the replicas that run; the last recommendation unless given.
        limit: What the demand can be at most, in the same unit: PromQL, or with `file` the column, or a number. Where
            the demand reaches it, it counts as a lower bound. Found from a plateau unless given; infinity for none.
        file: A CSV or Parquet file, or a stored JSON answer, to read instead of asking Prometheus.
        live: Whether the file must be fresh.
        levels: Level of indicators by name; ``demand`` is 2 unless given.
        step: Of the measurements.
        history: To ask for.

    The others are arguments of `ResourceScaler`.
    """

    name: str
    unit: Literal["cores", "millicores", "GB", "bytes", "gpus", "requests"]
    unit_capacity: float
    demand: str
    indicators: dict[str, str] = {}
    replicas: str = ""
    limit: str | float = ""
    file: str = ""
    live: bool = False
    levels: dict[str, int] = {}
    step: str = "10min"
    history: str = "14d"
    target_utilization: float = ResourceScaler.target_utilization
    sla: float = 0.01
    cost_over: float = 1.0
    cost_under: float = 20.0
    cost_change: float = 0.1
    startup_delay: str = "10min"
    cooldown: str = "0s"
    min_units: int = 1
    max_units: int = 100
    max_step: int = 0
    adaptation: Adaptation = "bayes"

    @property
    def measures_limit(self) -> bool:
        """Whether the limit is a query or a column rather than a number."""
        return isinstance(self.limit, str) and bool(self.limit)

    def scaler(self) -> ResourceScaler:
        """Its decision maker."""
        return ResourceScaler(
            self.unit_capacity,
            self.target_utilization,
            self.sla,
            self.cost_over,
            self.cost_under,
            self.cost_change,
            interval=self.step,
            startup_delay=self.startup_delay,
            cooldown=self.cooldown,
            min_units=self.min_units,
            max_units=self.max_units,
            max_step=self.max_step,
            adaptation=self.adaptation,
        )


class ServiceConfig(_Strict, frozen=True):
    """The configuration of the service, as YAML or TOML.

    Attributes:
        workloads: What to watch.
        prometheus: Address of the server that measures.
        state: Folder in which state survives restarts.
        lookback, horizon: Steps of the forecaster.
        steps: Of training; more for many workloads.
        refit: After which a forecaster is trained anew.
    """

    workloads: list[WorkloadConfig]
    prometheus: str = "http://localhost:9090"
    state: str = "harmony-state"
    lookback: int = 144
    horizon: int = 12
    steps: int = 400
    refit: str = "1d"

    @classmethod
    def read(cls, path: str | Path) -> ServiceConfig:
        """Read ``.yaml`` or ``.toml``; files of workloads are looked for beside it.

        Raises:
            InputError: not such a file, a key that is missing, misspelt or of another type, a name used twice.
        """
        path = Path(path)
        decode = msgspec.toml.decode if path.suffix == ".toml" else msgspec.yaml.decode
        try:
            config = decode(path.read_bytes(), type=cls)
        except (OSError, UnicodeDecodeError, ValueError, msgspec.MsgspecError) as error:
            raise InputError(f"the configuration {path.name} cannot be used", error, "Mend that entry.") from error
        names = [workload.name for workload in config.workloads]
        if not names or len(set(names)) < len(names):
            raise InputError("every workload has a name of its own", names, "Name one workload at least, none twice.")
        for workload in config.workloads:
            workload.scaler()  # refuses what cannot work before anything starts
        located = [
            msgspec.structs.replace(each, file=str(path.parent / each.file)) if each.file else each
            for each in config.workloads
        ]
        return msgspec.structs.replace(config, workloads=located)
