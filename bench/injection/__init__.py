"""Training and judging the small model that knows injected instructions. Texts here were written for it."""
