"""Scenes that are drawn, with exact labels: people, shapes and clips of moving shapes."""
