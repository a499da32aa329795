"""What a decision is made under, as options of all jobs that decide: the arguments of `ResourceScaler`."""

from __future__ import annotations

from typing import Annotated

from harmonia.core.task import Field

Capacity = Annotated[float, Field("demand that one unit can take, in units of the demand", gt=0)]
Utilization = Annotated[
    float,
    Field(
        "share of a unit's capacity that is usable: the SLA counts demand above that, the replay demand above "
        "capacity; with 1 both are the same, and the forecast's uncertainty is the reserve",
        gt=0,
        le=1,
    ),
]
Sla = Annotated[float, Field("share of steps in which demand may exceed what is usable", gt=0, lt=0.5)]
CostOver = Annotated[float, Field("price of a unit of resource that is not used, for one step", gt=0)]
CostUnder = Annotated[float, Field("price of a unit of demand that is not served, for one step", gt=0)]
CostChange = Annotated[float, Field("price of moving by a unit of resource", ge=0)]
CostSwitch = Annotated[float, Field("price of moving at all", ge=0)]
Delay = Annotated[str, Field("time until an added unit serves: 30s, 10min, 1h")]
Cooldown = Annotated[str, Field("time after a change in which nothing is taken away")]
MinUnits = Annotated[int, Field("fewest units", ge=1)]
MaxUnits = Annotated[int, Field("most units", ge=1)]
MaxStep = Annotated[int, Field("most units that one change adds or takes; 0 for any", ge=0)]
