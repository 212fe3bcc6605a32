"""Language models as policies: tasks, rollouts, log-probabilities, the GRPO loop."""
