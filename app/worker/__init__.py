"""The process that carries imports out, beside the servers of its machine."""

from app.worker.process import importing, run_worker, work_alone

__all__ = ["importing", "run_worker", "work_alone"]
