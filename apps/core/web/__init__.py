"""What the web process holds against requests that are slow or huge, before anybody is asked who sends them."""
