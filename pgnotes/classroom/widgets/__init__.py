"""The interactive pictures, one file each: numbers, drawing, controls."""
