"""The contracts of Harmonia: card, task, claim, weights, scale, errors. Knows no method."""
