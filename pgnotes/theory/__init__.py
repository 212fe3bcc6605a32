"""The mathematics: tensors in, tensors out. Knows no notebook, no language model, no plot."""
