"""What lives in a web process while answers run: its desk, its threads for the database, its wire to the others."""
