"""What the application needs of the outside, as Protocols; adapters and web fulfil them, the composition root joins them."""
