"""Training in processes of its own: small tasks from scratch, and fine-tuning of loaded models.

A job is a folder (job.json, events.jsonl, snapshots/, checkpoint/, log) and the process that writes
it: ``python -m attnviz.train FOLDER/job.json``. Other programs read the folder.

    from attnviz.train import jobs
    from attnviz.train.tasks import find
    from attnviz.train.tasks.task import settings_for

    job = jobs.submit(settings_for(find("induction")))
    job.status, job.events(), job.pause(), job.resume(), job.cancel()
"""
