"""What a trained model is worth: each file measures one subject, `report` and `page` show it."""
