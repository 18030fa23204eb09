"""The asyncio shell: HTTP in, the scheduler's decisions carried out, HTTP out."""
