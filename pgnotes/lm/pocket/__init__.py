"""The bundled pocket model and the script that makes it."""
