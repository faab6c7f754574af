"""What people import to describe work: @task, @job, Context. Needs only msgspec."""
