"""Scans: their derivatives and batches, which are scans again, and the passes that improve them.

Each opens a scan (`graphnn.ops.scans.Step`), builds nodes within a step, and shuts it again: what
the new step reads from outside is found then, so no rule handles constants by hand.
"""

from graphnn.compiler.scans.batch import batch_scan
from graphnn.compiler.scans.forward import jvp_of_scan
from graphnn.compiler.scans.reverse import vjp_of_scan

__all__ = ["batch_scan", "jvp_of_scan", "vjp_of_scan"]
