"""A preset: a trained run in a small form that can be part of the package."""
