"""The workers of `astra serve` on the probe instead of the shortener; the protocol is the argument."""

import asyncio
import os
import sys

from app.cli.listener import listen
from app.cli.serve import Plan, supervise

plan = Plan(protocol=sys.argv[1], host="127.0.0.1", port=0, workers=1, drain=1.0, store="none:", app="probe:asgi")
asyncio.run(supervise(plan, listen(plan.host, plan.port), os.environ))
