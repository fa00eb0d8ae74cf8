"""A preset: a trained run stored small, to come with the package."""
