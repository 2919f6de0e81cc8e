"""Conds and while loops: their derivatives, their batches, what is known of them, native code.

Each opens a node (`graphnn.ops.conditionals.Choice`, `graphnn.ops.while_loops.Rounds`), builds
nodes within, and shuts it.
"""
