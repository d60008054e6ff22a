"""`make bench`: the figures that a release promises, measured here and now, beside what they are compared with."""
