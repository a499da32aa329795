"""Building blocks that two or more methods use. Each module holds one idea; none knows a method."""
