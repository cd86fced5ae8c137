"""The Train page's pieces: two doors into a job, and a job as one can watch it."""
