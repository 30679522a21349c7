"""Identity providers on screen: their address and tokens, what waits for a human, who somebody is."""
