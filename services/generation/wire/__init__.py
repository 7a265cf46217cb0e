"""Between the model and kawaii.generation.v1, in both directions: generations, pages of them, operators' messages."""
