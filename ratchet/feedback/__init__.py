"""What production says back: answers to predictions, who may give them, and how they are kept."""
