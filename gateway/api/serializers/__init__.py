"""How governed rows look over the wire: fields named and rows referred to as in the manifest."""
