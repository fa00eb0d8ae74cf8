"""The objective: reconstruction losses, VGG19 features, the KL term, and schedules of weights and rates."""
