"""How bytes leave the process: the bounded HTTP exchange, the token bucket, HMAC; adapters stand on it."""
