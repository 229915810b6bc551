"""What was tried on one model, side by side: parameters, figures, costs, and what the gate said."""
