"""The Train page's controls, and its views of a job."""
