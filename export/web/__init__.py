"""A web page: a folder of plain files in which a run makes pictures in the browser, without help from a server."""
