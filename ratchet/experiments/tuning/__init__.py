"""The search for hyper-parameters: spaces, trials on folds of the training rows, and studies that survive a crash."""
