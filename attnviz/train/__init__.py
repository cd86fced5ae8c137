"""Training in processes of their own: small tasks from nothing, and fine-tuning loaded models.

A job is a folder (job.json, events.jsonl, snapshots/, checkpoint/, log) and a process that writes
it: ``python -m attnviz.train FOLDER/job.json``. Whoever watches reads the folder.

from attnviz.train import jobs, settings
job = jobs.submit(settings.for_task("induction"))
job.status, job.events(), job.pause(), job.resume(), job.cancel()
"""
