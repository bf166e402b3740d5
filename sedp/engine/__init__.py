"""The hall: deciding code, pure and total. No clock, no loop, no dice, no sockets.

`Scheduler.handle(now_ns, stimulus) -> commands` is all there is to it; drivers (live, simulated)
carry commands out and bring back stimuli.
"""
