"""What a service tells of itself: metrics, traces and logs, as listeners of events."""
