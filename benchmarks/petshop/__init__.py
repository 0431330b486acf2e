"""Real incidents of a real application: the rules that describe it, and how well its root causes are found."""
