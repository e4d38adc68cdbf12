"""The same numbers under every framework, shown: traces, their comparison, and where they diverge."""
