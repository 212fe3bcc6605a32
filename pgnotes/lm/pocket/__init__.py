"""The bundled pocket model, the script that makes it, and what the lessons do with it besides GRPO."""
