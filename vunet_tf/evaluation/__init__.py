"""Measures how good a trained model is. Each file measures one subject; `report` and `page` show the results."""
