"""What the app asks of the outside, as Protocols, and the Temporary and Permanent errors it is answered with."""
