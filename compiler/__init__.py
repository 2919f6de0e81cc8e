"""The compiler: differentiation, rewriting, lowering and execution of graphs."""
