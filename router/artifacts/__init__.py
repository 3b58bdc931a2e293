"""Fitted arrays that the package ships."""
