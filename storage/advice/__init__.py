"""What RAM is worth: recorded accesses, and the hit ratio at other sizes."""
