"""What tests of Astra, and of programs that use it, are made of."""

from astra_core.testing.clock import FakeClock
from astra_core.testing.fault_proxy import FaultProxy
from astra_core.testing.faults import FAULTLESS, Faults, Flow

__all__ = ["FAULTLESS", "FakeClock", "FaultProxy", "Faults", "Flow"]
