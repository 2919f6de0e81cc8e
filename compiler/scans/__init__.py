"""Scans: their derivatives and batches, which are scans again, and the passes that improve them.

Each opens a scan (`graphnn.ops.scan_primitive.Step`), builds nodes within a step, and shuts it
again: what the new step reads from outside is found then, so no rule handles constants by hand.
"""
