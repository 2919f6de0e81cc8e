def holders(u): return []
def size_text(n): return str(n)
