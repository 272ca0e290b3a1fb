"""What tests of Astra, and of programs that use it, are made of."""

from astra_core.testing.clock import FakeClock

__all__ = ["FakeClock"]
