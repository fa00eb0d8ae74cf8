"""The objective: reconstruction losses, VGG19 features, the KL term, and how weights and rates go over a run."""
