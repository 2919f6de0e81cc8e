"""The core: nodes, specs, dtypes, graphs and errors. It imports nothing else of graphnn."""
