"""What the daemon tells of itself: statistics, metrics, the status page."""
