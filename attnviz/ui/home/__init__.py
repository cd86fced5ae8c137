"""The Home page: painted from kept results at once, live once the model is loaded."""
