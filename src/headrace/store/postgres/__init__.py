"""The store on PostgreSQL: the only room that knows psycopg."""
