"""What a net is: the spec, the zoo, the trainable module and the folded deploy graph."""
