"""Serving by TensorFlow Serving: its configuration, and a client for each of its two interfaces."""
