"""What guardrails look for in prompts and answers. One file per detector; they know text and nothing of calls.

Every pattern is linear: bounded repeats, no two of which can take the same characters one after the other. What a
detector would still have to see before it can say that nothing begins here is derived from its patterns
(`beginnings.py`), so that a stream is held back for as long as it must be and no longer.
"""
